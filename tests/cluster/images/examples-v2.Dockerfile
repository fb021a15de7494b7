# "The next release" of the example jobs: what the demo and the tests roll out to.
ARG EXAMPLES_IMAGE=localhost/jobworker-examples:dev
FROM ${EXAMPLES_IMAGE}
ENV SHOP_VERSION=2
