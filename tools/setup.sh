#!/bin/sh
# Installs what tests and generators need on Debian, and only what is missing.
#   tools/setup.sh         everything
#   tools/setup.sh --list  only says what is missing
# Building and the demo need nothing but Go.
set -eu

# What is looked for, and the package that has it.
needed="
${CLANG:-clang-14} ${CLANG:-clang-14}
llvm-strip-14 llvm-14
/usr/include/linux/bpf.h linux-libc-dev
protoc protobuf-compiler
/usr/include/google/protobuf/timestamp.proto libprotobuf-dev
promtool prometheus
qemu-system-x86_64 qemu-system-x86
xz xz-utils
ip iproute2
ethtool ethtool
"

missing=
while read -r what package; do
	case $what in
	'') continue ;;
	/*) [ -e "$what" ] && continue ;;
	*) command -v "$what" >/dev/null && continue ;;
	esac
	missing="$missing $package"
done <<EOF
$needed
EOF

if [ -z "$missing" ]; then
	exit 0
fi
if [ "${1:-}" = --list ]; then
	echo "missing:$missing"
	exit 1
fi
remedy="as root: apt-get update && apt-get install --no-install-recommends$missing"
if ! command -v apt-get >/dev/null; then
	echo "setup: this is not Debian; install by other means what is in Debian's packages$missing" >&2
	exit 1
fi
sudo=
if [ "$(id -u)" -ne 0 ]; then
	if ! command -v sudo >/dev/null; then
		echo "setup: neither root nor sudo; $remedy" >&2
		exit 1
	fi
	sudo=sudo
fi

# Packages must not start their services here (Prometheus is wanted for promtool only). policy-rc.d is how Debian's
# packages are told; one that is already there knows better. Nor must they start
# at the next boot: see below.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	trap '$sudo rm -f "$policy"' EXIT
	trap 'exit 1' HUP INT TERM
	printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
	$sudo chmod 755 "$policy"
fi

# apt retries each file by itself; a mirror that is being updated needs the whole again.
echo "setup: installing$missing"
for attempt in 1 2 3; do
	# shellcheck disable=SC2086 # the list is words
	if $sudo apt-get update -q -o Acquire::Retries=3 &&
		$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 $missing; then
		case $missing in *prometheus*)
			if command -v systemctl >/dev/null; then $sudo systemctl -q disable prometheus; fi ;;
		esac
		exit 0
	fi
	echo "setup: attempt $attempt of 3 failed" >&2
	sleep 5
done
echo "setup: cannot install$missing; $remedy" >&2
exit 1
