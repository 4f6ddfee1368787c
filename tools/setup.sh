#!/bin/sh
# Installs what tests and generators need on Debian, and only what is missing.
#   tools/setup.sh         everything
#   tools/setup.sh --list  only says what is missing
#   tools/setup.sh --demo  only the router that the demo tells of the attack, where that can be had soon and without asking
# Building and the demo need nothing but Go; without a router, the demo says so.
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
bird bird2
/usr/lib/frr/bgpd frr
gobgpd gobgpd
exabgp exabgp
softflowd softflowd
fprobe fprobe
pmacctd pmacct
nfreplay nfdump
fastnetmon fastnetmon
xz xz-utils
ip iproute2
ethtool ethtool
gcc gcc
/usr/include/stdio.h libc6-dev
/usr/include/pcap/pcap.h libpcap-dev
luajit luajit
python3 python3
influxd influxdb
redis-server redis-server
carbon-cache graphite-carbon
clickhouse-server clickhouse-server
"
attempts="1 2 3"
hurry=
if [ "${1:-}" = --demo ]; then
	if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
		exit 0 # the demo says itself what is missing
	fi
	needed="bird bird2"
	attempts=1
	hurry="-o Acquire::Retries=0 -o Acquire::http::Timeout=10 -o Acquire::https::Timeout=10 -o DPkg::Lock::Timeout=10"
fi

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
for attempt in $attempts; do
	# shellcheck disable=SC2086 # the lists are words
	if $sudo apt-get update -q -o Acquire::Retries=3 $hurry &&
		$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 $hurry $missing; then
		# Packages and their services.
		for pair in prometheus:prometheus bird2:bird frr:frr gobgpd:gobgpd exabgp:exabgp softflowd:softflowd fprobe:fprobe pmacct:pmacctd pmacct:nfacctd \
			pmacct:sfacctd pmacct:uacctd nfdump:nfdump fastnetmon:fastnetmon; do
			case " $missing " in *" ${pair%:*} "*)
				if command -v systemctl >/dev/null; then $sudo systemctl -q disable "${pair#*:}"; fi ;;
			esac
		done
		exit 0
	fi
	echo "setup: attempt $attempt of ${attempts##* } failed" >&2
	if [ "$attempt" != "${attempts##* }" ]; then sleep 5; fi
done
echo "setup: cannot install$missing; $remedy" >&2
exit 1
