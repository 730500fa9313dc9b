# What ships, and what proves it. All of it is plain go, docker and Debian tools:
# the targets only save typing.

.PHONY: build test deb container check

# The static binary, as every package holds it.
build:
	CGO_ENABLED=0 go build -trimpath -ldflags="-s -w -buildid=" -o dist/gatehouse ./cmd/gatehouse

test:
	go test ./...

# dist/gatehouse_VERSION_ARCH.deb; the same tree gives the same bytes.
deb:
	appliance/packaging/deb dist

container:
	docker build -t gatehouse .

# Everything, as root on Debian 12: installs what it needs.
check:
	.ci/run
