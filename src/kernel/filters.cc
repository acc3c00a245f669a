#include "kernel/filters.h"

#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>

namespace ocicat::kernel {
namespace {

using bpf::Hook;

constexpr std::string_view kName = "ocicat";
constexpr std::uint32_t kPriority = 1;  // before whatever lets others choose one
constexpr std::uint32_t kHandle = 0x0c1ca7;

std::uint32_t parent_of(Hook hook) {
  return (TC_H_CLSACT & TC_H_MAJ_MASK) | (hook == Hook::kIngress ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS);
}

// An interface that is not there is another error (ENODEV) than a kind that is not (ENOENT), by number.
Result<void> refused(int error_number, const std::string& what) {
  if (error_number == ENOENT) {
    return fail(ErrorCode::kUnsupported,
                "{}: the kernel has no such hooks: load its modules sch_ingress and cls_bpf", what);
  }
  return fail_errno(what, error_number);
}

tcmsg place_of(int interface, Hook hook) {
  tcmsg header{};
  header.tcm_ifindex = interface;
  header.tcm_parent = parent_of(hook);
  header.tcm_handle = kHandle;
  header.tcm_info = kPriority << 16 | __builtin_bswap16(ETH_P_ALL);
  return header;
}

struct Filter {
  bool ours = false;
  std::uint32_t program = 0;
};

Result<void> for_each_filter(NetlinkSocket& socket, int interface, Hook hook,
                             const std::function<void(const Filter&)>& visit) {
  tcmsg header{};
  header.tcm_ifindex = interface;
  header.tcm_parent = parent_of(hook);
  MessageBuilder request;
  request.begin(RTM_GETTFILTER, NLM_F_REQUEST | NLM_F_DUMP, socket.next_sequence(), header);
  request.end();
  return socket.query(request.bytes(), [&](MessageView message) {
    if (message.nlmsg_type != RTM_NEWTFILTER) return;
    const auto& at = header_of<tcmsg>(message);
    if (at.tcm_handle == 0) return;  // what filters of one kind and priority have in common
    const auto attributes = Attributes::of_message(message, sizeof(tcmsg), TCA_OPTIONS + 1);
    const auto options = Attributes::of_nest(attributes[TCA_OPTIONS], TCA_BPF_ID + 1);
    const bool ours =
        attributes.text(TCA_KIND) == "bpf" && at.tcm_handle == kHandle && options.text(TCA_BPF_NAME) == kName;
    visit({ours, options.u32(TCA_BPF_ID)});
  });
}

}  // namespace

Result<Filters> Filters::open() {
  TRY(auto socket, NetlinkSocket::open(NETLINK_ROUTE));
  return Filters(std::move(socket));
}

Result<void> Filters::change(const MessageBuilder& builder, const std::string& what,
                             std::vector<int> harmless) {
  TRY(const auto acks, socket_.request(builder.bytes()));
  for (const auto& ack : acks) {
    if (ack.error_number == 0 || std::ranges::find(harmless, ack.error_number) != harmless.end()) continue;
    return refused(ack.error_number, ack.text.empty() ? what : fmt::format("{} ({})", what, ack.text));
  }
  return {};
}

Result<std::uint32_t> Filters::program(int interface, Hook hook) {
  std::uint32_t program = 0;
  TRY_VOID(for_each_filter(socket_, interface, hook, [&](const Filter& filter) {
    if (filter.ours) program = filter.program;
  }));
  return program;
}

Result<void> Filters::put(int interface, Hook hook, int program) {
  tcmsg place{};
  place.tcm_ifindex = interface;
  place.tcm_parent = TC_H_CLSACT;
  place.tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
  MessageBuilder hooks;
  hooks.begin(RTM_NEWQDISC, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, socket_.next_sequence(),
              place);
  hooks.put_string(TCA_KIND, "clsact");
  hooks.end();
  TRY_VOID(change(hooks, fmt::format("make hooks at interface {}", interface), {EEXIST}));

  MessageBuilder filter;
  filter.begin(RTM_NEWTFILTER, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE, socket_.next_sequence(),
               place_of(interface, hook));
  filter.put_string(TCA_KIND, "bpf");
  const auto options = filter.begin_nest(TCA_OPTIONS);
  filter.put_u32(TCA_BPF_FD, static_cast<std::uint32_t>(program));
  filter.put_string(TCA_BPF_NAME, kName);
  filter.put_u32(TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
  filter.end_nest(options);
  filter.end();
  return change(filter, fmt::format("attach to interface {}", interface), {});
}

Result<void> Filters::remove(int interface, Hook hook) {
  TRY(const auto there, program(interface, hook));
  if (there == 0) return {};
  MessageBuilder filter;
  filter.begin(RTM_DELTFILTER, NLM_F_REQUEST | NLM_F_ACK, socket_.next_sequence(), place_of(interface, hook));
  filter.put_string(TCA_KIND, "bpf");
  filter.end();
  TRY_VOID(change(filter, fmt::format("detach from interface {}", interface), {ENOENT, ENODEV, EINVAL}));
  // Hooks where nobody has anything any more go as well.
  for (const auto each : {Hook::kIngress, Hook::kEgress}) {
    bool used = false;
    TRY_VOID(for_each_filter(socket_, interface, each, [&](const Filter&) { used = true; }));
    if (used) return {};
  }
  tcmsg place{};
  place.tcm_ifindex = interface;
  place.tcm_parent = TC_H_CLSACT;
  MessageBuilder hooks;
  hooks.begin(RTM_DELQDISC, NLM_F_REQUEST | NLM_F_ACK, socket_.next_sequence(), place);
  hooks.end();
  return change(hooks, fmt::format("remove the hooks at interface {}", interface), {ENOENT, ENODEV, EINVAL});
}

Result<bool> are_others_hooks(NetlinkSocket& socket, int interface) {
  bool ours = false, others = false;
  for (const auto hook : {Hook::kIngress, Hook::kEgress}) {
    TRY_VOID(for_each_filter(socket, interface, hook,
                             [&](const Filter& filter) { (filter.ours ? ours : others) = true; }));
  }
  return others || !ours;
}

}  // namespace ocicat::kernel
