# The builder is an argument so that a site (or a test without a registry) can
# put its own image under the same name.
ARG BUILDER=docker.io/library/golang:1.26-bookworm

FROM ${BUILDER} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# The same source and VERSION give the same bytes; the script says how. The time zone
# database is compiled into the binary.
ARG VERSION=
RUN sh appliance/packaging/binary /out/gatehouse
RUN mkdir -p /out/root/etc/gatehouse /out/root/etc/ssl/certs /out/root/var/lib/gatehouse \
 && cp /etc/ssl/certs/ca-certificates.crt /out/root/etc/ssl/certs/ \
 && cp /out/gatehouse /out/root/gatehouse

FROM scratch
COPY --from=build /out/root/ /
# State belongs to the user the gate runs as; everything else is read-only.
COPY --from=build --chown=65532:65532 /out/root/var/lib/gatehouse /var/lib/gatehouse
USER 65532:65532
# The image has no shell: the binary asks its own /healthz.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["/gatehouse", "healthcheck"]
ENTRYPOINT ["/gatehouse"]
CMD ["run"]
