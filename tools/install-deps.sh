#!/bin/bash
# Installs what Weir is built with from Debian's packages; quick when nothing is missing.
#
#   tools/install-deps.sh          what building and running needs
#   tools/install-deps.sh --dev    also what the tests and checks need
#   tools/install-deps.sh --run    instead only the libraries that an installed Weir loads
#
# docs/dependencies.md says why each package is here.
set -euo pipefail

build=(
  g++ cmake ninja-build make git ca-certificates ccache mold pkg-config python3
  libgrpc++-dev libgrpc-dev protobuf-compiler protobuf-compiler-grpc libprotobuf-dev
  libprotoc-dev libabsl-dev libre2-dev libc-ares-dev libssl-dev
  librocksdb-dev libgflags-dev libsnappy-dev liblz4-dev libzstd-dev libbz2-dev zlib1g-dev
  librdkafka-dev
  libspdlog-dev libfmt-dev
  prometheus-cpp-dev libcivetweb-dev libcurl4-openssl-dev
  libgtest-dev libgmock-dev libbenchmark-dev
  libyaml-cpp-dev libcli11-dev nlohmann-json3-dev libsimdjson-dev libxxhash-dev
)
run=(
  libgrpc++1.51 libgrpc29 libprotobuf32 libabsl20220623 libssl3 librocksdb7.8 librdkafka1
  libspdlog1.10 libprometheus-cpp-core1.0 libyaml-cpp0.7 libsimdjson14 libxxhash0
)
dev=(clang-format-14 clang-tidy-14 gdb kcat curl procps iproute2 nftables)

wanted=("${build[@]}")
case "${1:-}" in
  "") ;;
  --run) wanted=("${run[@]}") ;;
  --dev)
    wanted+=("${dev[@]}")
    # The tests start a real Kafka broker: any Java 17 and any Maven will do.
    command -v java > /dev/null || wanted+=(openjdk-17-jre-headless)
    command -v mvn > /dev/null || wanted+=(maven)
    ;;
  *)
    echo "install-deps.sh: unknown argument '$1'; there are --dev and --run" >&2
    exit 2
    ;;
esac

if ! command -v dpkg-query > /dev/null; then
  echo "install-deps.sh: this is not a Debian system. Weir is built with these Debian 12 packages;" >&2
  echo "install their like and run cmake directly (see CONTRIBUTING.md):" >&2
  echo "  ${wanted[*]}" >&2
  exit 1
fi

installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${wanted[@]}" 2> /dev/null |
  sed -n 's/^installed //p') || true
missing=()
for package in "${wanted[@]}"; do
  grep -qxF "$package" <<< "$installed" || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ]; then
  echo "install-deps.sh: ${#missing[@]} packages are missing. Run:" >&2
  echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
  exit 1
fi

echo "Installing ${#missing[@]} packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"; } \
  > "$log" 2>&1; then
  tail -30 "$log" >&2
  echo "install-deps.sh: apt-get failed (above)" >&2
  exit 1
fi
