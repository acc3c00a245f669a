#include "kernel/bpf_abilities.h"

#include <linux/bpf.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter_ipv4.h>
#include <net/if.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "base/unique_fd.h"
#include "kernel/connections.h"
#include "kernel/netlink.h"

namespace ocicat::kernel::bpf {
namespace {

// What Debian's headers do not know.
constexpr std::uint32_t kTypeNetfilter = 32;  // BPF_PROG_TYPE_NETFILTER
constexpr std::uint32_t kAtNetfilter = 45;    // BPF_NETFILTER
constexpr std::uint32_t kAtTcxIngress = 46;   // BPF_TCX_INGRESS
constexpr std::uint32_t kPutTogether = 1;     // BPF_F_NETFILTER_IP_DEFRAG

// Whether the answer was one that a kernel gives that does not know what it is asked.
Result<bool> known(long answer, const char* what) {
  if (answer >= 0) return true;
  if (errno == EINVAL || errno == EOPNOTSUPP || errno == E2BIG) return false;
  return fail_errno(what, errno);
}

// Which programs are at the loopback interface.
Result<bool> has_tcx() {
  bpf_attr attributes{};
  attributes.query.target_fd = ::if_nametoindex("lo");  // the same place as target_ifindex
  attributes.query.attach_type = kAtTcxIngress;
  return known(::syscall(SYS_bpf, BPF_PROG_QUERY, &attributes, sizeof attributes),
               "ask for programs at an interface");
}

// By a program that lets everything pass, attached nowhere.
Result<bool> has_netfilter() {
  constexpr std::array<bpf_insn, 2> kPass{
      bpf_insn{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .src_reg = 0, .off = 0, .imm = 1},
      bpf_insn{.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  bpf_attr attributes{};
  attributes.prog_type = kTypeNetfilter;
  attributes.expected_attach_type = kAtNetfilter;
  attributes.insns = reinterpret_cast<std::uint64_t>(kPass.data());
  attributes.insn_cnt = kPass.size();
  attributes.license = reinterpret_cast<std::uint64_t>("GPL");
  const UniqueFd program(static_cast<int>(::syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof attributes)));
  TRY(const bool loads, known(program.get(), "load a program for netfilter"));
  if (!loads) return false;
  // A kernel that knows what is asked says that this priority is beyond all that there may be.
  struct {
    std::uint32_t program, target, attach_type, flags, family, hook;
    std::int32_t priority;
    std::uint32_t netfilter_flags;
  } wanted{static_cast<std::uint32_t>(program.get()),
           0,
           kAtNetfilter,
           0,
           NFPROTO_IPV4,
           NF_INET_FORWARD,
           NF_IP_PRI_LAST,
           kPutTogether};
  bpf_attr link{};
  std::memcpy(&link, &wanted, sizeof wanted);
  const UniqueFd made(static_cast<int>(::syscall(SYS_bpf, BPF_LINK_CREATE, &link, sizeof link)));
  if (!made && errno == ERANGE) return true;
  return known(made.get(), "ask for netfilter hooks");
}

// Whether a part of the kernel has a type or function of this name. Names follow each other, ended by zeros.
bool names(const char* part, std::string_view name) {
  std::ifstream file(std::string("/sys/kernel/btf/") + part, std::ios::binary);
  const std::string types{std::istreambuf_iterator<char>(file), {}};
  return types.find('\0' + std::string(name) + '\0') != std::string::npos;
}

// A kernel that is asked about connections loads what tracks them.
void load_tracking() {
  if (::access("/proc/sys/net/netfilter/nf_conntrack_max", F_OK) == 0) return;
  if (const auto connections = NetlinkConnections::open()) [[maybe_unused]]
    const auto none = (*connections)->list([](const Connection&) {});
}

bool has_conntrack() {
  load_tracking();
  constexpr const char* kFunction = "bpf_skb_ct_lookup";
  return names("vmlinux", kFunction) || names("nf_conntrack", kFunction);
}

// As iptables asks which revisions there are. In a table of family inet the kernel would load no module for it.
bool has_asking() {
  auto socket = NetlinkSocket::open(NETLINK_NETFILTER);
  if (!socket) return false;
  MessageBuilder request;
  request.begin(NFNL_SUBSYS_NFT_COMPAT << 8 | NFNL_MSG_COMPAT_GET, NLM_F_REQUEST | NLM_F_ACK,
                socket->next_sequence(), nfgenmsg{AF_INET, NFNETLINK_V0, 0});
  request.put_string(NFTA_COMPAT_NAME, "bpf");
  request.put_be32(NFTA_COMPAT_REV, 1);
  request.put_be32(NFTA_COMPAT_TYPE, 0);  // a match
  request.end();
  return socket->query(request.bytes(), [](MessageView) {}).has_value();
}

}  // namespace

Result<Abilities> abilities(const Abilities& usable) {
  TRY(const bool tcx, has_tcx());
  TRY(const bool netfilter, has_netfilter());
  return Abilities{.types = usable.types && ::access("/sys/kernel/btf/vmlinux", R_OK) == 0,
                   .tcx = usable.tcx && tcx,
                   .netfilter = usable.netfilter && netfilter,
                   .conntrack = usable.conntrack && has_conntrack(),
                   .asking = usable.asking && has_asking()};
}

}  // namespace ocicat::kernel::bpf
