{{- define "jobworker.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "jobworker.fullname" -}}
{{- $name := include "jobworker.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "jobworker.selector" -}}
app.kubernetes.io/name: {{ include "jobworker.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "jobworker.labels" -}}
{{ include "jobworker.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "jobworker.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "jobworker.fullname" .) }}
{{- else }}
{{- .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "jobworker.subjects" -}}
- kind: ServiceAccount
  name: {{ include "jobworker.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}

{{/* What the operator does, verb by verb; each line is used, or it would not be here. */}}
{{- define "jobworker.rules" -}}
- apiGroups: [jobworker.dev]
  resources: [jobworkers]
  # patch: the finalizer, and spec.replicas with scaling.mode Auto
  verbs: [get, list, watch, patch]
- apiGroups: [jobworker.dev]
  resources: [jobworkers/status]
  verbs: [patch]
# Asked by clusters that check owner references (OpenShift does): the pods' reference blocks the deletion of its JobWorker.
- apiGroups: [jobworker.dev]
  resources: [jobworkers/finalizers]
  verbs: [update]
- apiGroups: [""]
  resources: [pods]
  # patch: the annotation that says why a pod shall go
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [events]
  # patch: the count of an event that repeats
  verbs: [create, patch]
{{- end }}
