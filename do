#!/bin/sh
# The front door: everything that can be done with this checkout. `./do` alone tells what there is.
# Needs sh and apt (Debian 12), and root; asks for root through sudo by itself.
set -eu

cd "$(dirname "$0")"
root=$PWD

# What each task needs, as Debian packages.
build_packages="g++ cmake ninja-build pkg-config ccache mold libboost1.81-dev libboost-json1.81-dev libssl-dev
  libabsl-dev libyaml-dev libsqlite3-dev libmnl-dev libbpf-dev bpftool clang-19 libcli11-dev libspdlog-dev libfmt-dev libre2-dev
  prometheus-cpp-dev libgtest-dev libgmock-dev libbenchmark-dev ca-certificates"
run_packages="iproute2 iputils-ping nftables procps python3"
test_packages="python3-pytest python3-pytest-xdist bird2 ethtool frr gobgpd
  containerd runc busybox-static containernetworking-plugins python3-grpcio iptables user-mode-linux"
bench_packages="iptables ipset ethtool bird2 frr"
kernel_packages="qemu-system-x86 busybox-static cpio apt"
clang_packages="libclang-rt-19-dev"
lint_packages="clang-tidy-19 clang-format-19 shellcheck python3-flake8 git"

usage() {
  cat <<'EOF'
Ocicat: routed networking for workloads, and a firewall at every host.

  ./do demo          install, build, and watch the story told with real packets (KEEP=1 leaves the lab up)
  ./do test          install, build, run every test: unit, property, end to end

  ./do build         install what is missing and build into build/release
  ./do containers [N]
                     N real containers (200) come and go in a storm on two hosts of a lab
  ./do churn [SECONDS]
                     a hundred changes of policy a second for a minute, under traffic that is counted
  ./do test-kernels [KERNEL]
                     programs of eBPF on this kernel (here) and on Debian's 6.1 and 6.12, emulated
  ./do bench [NAME]  measure; writes build/bench/figures.json (--list: the figures there are)
  ./do conformance   every Kubernetes NetworkPolicy case through real packets
  ./do sanitize      the tests under address, undefined and thread sanitizers
  ./do fuzz [SECONDS [TARGET]]
                     fuzz every parser, and the property tests with fresh seeds (60 s each unless told)
  ./do mutants [NAME]
                     break the policy compiler in chosen ways, and see that the tests catch each
  ./do lint          formatting, clang-tidy, shell and Python linters
  ./do format        put the C++ into shape
  ./do install [DIR] copy the programs to DIR (default /usr/local/bin)
  ./do clean         remove build/

JOBS=N sets how many compilers run at once (default: one a core).
EOF
}

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }

# Root, by sudo where needed, keeping the switches people set.
become_root() {
  [ "$(id -u)" -eq 0 ] && return 0
  command -v sudo >/dev/null || { echo "./do $*: needs root, and there is no sudo: run it as root" >&2; exit 1; }
  say "asking for root: packages are installed and network namespaces are made"
  exec sudo --preserve-env=KEEP,JOBS,CI,OCICAT_SEED,OCICAT_PROPERTY_SECONDS "$root/do" "$@"
}

# Installs what is missing of the packages named; touches nothing when all are there.
need() {
  missing=""
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || missing="$missing $package"
  done
  [ -z "$missing" ] && return 0
  say "installing Debian packages:$missing"
  apt-get update -qq
  # shellcheck disable=SC2086  # a list of words
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

jobs() { echo "${JOBS:-$(nproc)}"; }

# build PRESET [TARGETS...]: configures once, then builds what changed.
build() {
  preset=$1
  shift
  [ -f "build/$preset/build.ninja" ] || {
    say "configuring build/$preset"
    cmake --preset "$preset" >"/tmp/ocicat-configure.$$" 2>&1 || { cat "/tmp/ocicat-configure.$$"; exit 1; }
    rm -f "/tmp/ocicat-configure.$$"
  }
  say "building build/$preset"
  ninja -C "build/$preset" -j "$(jobs)" "$@"
}

unit_tests() {  # PRESET
  say "unit and property tests ($1)"
  ctest --test-dir "build/$1" -j $(($(jobs) + 1)) --output-on-failure --no-tests=error
}

task=${1:-help}
[ $# -gt 0 ] && shift
case " $* " in *" --help "* | *" -h "*) task=help ;; esac
case $task in
  help|-h|--help)
    usage
    ;;
  build)
    become_root build "$@"
    # shellcheck disable=SC2086
    need $build_packages
    [ $# -gt 0 ] || set -- all benchmarks
    build release "$@"
    ;;
  demo)
    become_root demo "$@"
    # shellcheck disable=SC2086
    need $build_packages $run_packages
    build release ocicat ocicat-cni
    exec tools/demo "$root/build/release"
    ;;
  test)
    become_root test "$@"
    # shellcheck disable=SC2086
    need $build_packages $run_packages $test_packages
    build release
    unit_tests release
    say "end-to-end tests"
    OCICAT_BIN="$root/build/release/apps/ocicat" /usr/bin/python3 -m pytest -q -n 6 -p no:cacheprovider test/e2e "$@"
    ;;
  test-kernels)
    become_root test-kernels "$@"
    # shellcheck disable=SC2086
    need $build_packages $run_packages $kernel_packages
    build release kernel_programs bpf_test netns_test
    exec /usr/bin/python3 test/kernels/run.py --build "$root/build/release" --work "$root/build/kernels" "$@"
    ;;
  conformance)
    become_root conformance "$@"
    # shellcheck disable=SC2086
    need $build_packages $run_packages $test_packages
    build release ocicat ocicat-cni
    OCICAT_BIN="$root/build/release/apps/ocicat" exec /usr/bin/python3 test/conformance/run_lab.py "$@"
    ;;
  containers)
    become_root containers "$@"
    # shellcheck disable=SC2086
    need $build_packages $run_packages $test_packages
    build release ocicat ocicat-cni
    OCICAT_STORM="${1:-200}" OCICAT_BIN="$root/build/release/apps/ocicat" \
      exec /usr/bin/python3 -m pytest -q -p no:cacheprovider --durations=6 test/e2e/test_containers.py
    ;;
  churn)
    become_root churn "$@"
    # shellcheck disable=SC2086
    need $build_packages $run_packages $test_packages
    build release ocicat ocicat-cni
    OCICAT_CHURN_SECONDS="${1:-60}" OCICAT_BIN="$root/build/release/apps/ocicat" \
      exec /usr/bin/python3 -m pytest -q -s -p no:cacheprovider test/e2e/test_churn.py -k storm
    ;;
  bench)
    become_root bench "$@"
    # shellcheck disable=SC2086
    need $build_packages $run_packages $bench_packages
    build release ocicat ocicat-cni benchmarks
    exec /usr/bin/python3 bench/run.py --build "$root/build/release" --out "$root/build/bench/figures.json" "$@"
    ;;
  sanitize)
    become_root sanitize "$@"
    # shellcheck disable=SC2086
    need $build_packages $run_packages $test_packages $clang_packages
    for preset in ${1:-asan tsan}; do
      build "$preset"
      unit_tests "$preset"
    done
    ;;
  fuzz)
    become_root fuzz "$@"
    # shellcheck disable=SC2086
    need $build_packages $run_packages $test_packages $clang_packages
    build asan
    exec tools/fuzz "$root/build/asan" "${1:-60}" "${2:-}"
    ;;
  mutants)
    become_root mutants "$@"
    # shellcheck disable=SC2086
    need $build_packages git python3
    exec /usr/bin/python3 tools/mutants.py "$@"
    ;;
  lint)
    become_root lint "$@"
    # shellcheck disable=SC2086
    need $build_packages $lint_packages
    exec tools/lint "$@"
    ;;
  format)
    command -v clang-format-19 >/dev/null || { echo "./do format: there is no clang-format-19; ./do lint installs it" >&2; exit 1; }
    git ls-files '*.cc' '*.h' '*.c' | xargs clang-format-19 -i
    ;;
  install)
    become_root install "$@"
    # shellcheck disable=SC2086
    need $build_packages $run_packages
    build release ocicat ocicat-cni
    install -D -m 755 -t "${1:-/usr/local/bin}" build/release/apps/ocicat build/release/apps/ocicat-cni
    ln -sf ocicat-cni "${1:-/usr/local/bin}/ocicat-ipam"
    say "installed into ${1:-/usr/local/bin}"
    ;;
  clean)
    rm -rf build
    ;;
  *)
    echo "./do: there is no task '$task'" >&2
    usage >&2
    exit 2
    ;;
esac
