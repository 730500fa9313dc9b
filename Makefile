# What ships, and what proves it. All of it is plain go, docker and Debian tools:
# the targets only save typing.

.PHONY: build test deb container image check

# What `gatehouse version` says; the package and the machine take it as well. Empty: what git says.
VERSION ?=
export VERSION

# The static binary, as every package holds it.
build:
	appliance/packaging/binary dist/gatehouse

test:
	go test ./...

# dist/gatehouse_VERSION_ARCH.deb; the same tree gives the same bytes.
deb:
	appliance/packaging/deb dist

container:
	docker build --build-arg VERSION -t gatehouse .

# The virtual machine, as root on Debian 12: dist/gatehouse-VERSION.qcow2, .vhdx, .ova.
image:
	vm/image/formats "$$(vm/image/build dist)"

# Everything, as root on Debian 12: installs what it needs.
check:
	.ci/run
