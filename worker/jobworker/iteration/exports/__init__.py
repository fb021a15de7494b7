"""Files in object storage: exports that go on elsewhere, and objects that walks read from."""

from jobworker.iteration.exports.buckets import S3Bucket
from jobworker.iteration.exports.formats import CsvFile, JsonLinesFile, RawFile
from jobworker.iteration.exports.job import ExportingJob
from jobworker.iteration.exports.objects import S3Object, unchanged

__all__ = ["CsvFile", "ExportingJob", "JsonLinesFile", "RawFile", "S3Bucket", "S3Object", "unchanged"]
