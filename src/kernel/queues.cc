#include "kernel/queues.h"

#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>

#include <linux/gen_stats.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

namespace ocicat::kernel {
namespace {

constexpr std::uint16_t kChange = NLM_F_REQUEST | NLM_F_ACK;
constexpr std::string_view kNameStart = "ocicat-i";

constexpr std::uint32_t kBucketHandle = 0x0c1c0000;
constexpr std::uint32_t kHookHandle = TC_H_MAKE(TC_H_CLSACT, 0);
constexpr std::uint32_t kPreference = 0x0c1c;
// The number of our filter, within its table, says who made the hook that it is at.
constexpr std::uint32_t kFirstFilter = 1, kGuestFilter = 2;

constexpr std::uint32_t kIngress = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);

std::uint32_t filter_info() {
  return TC_H_MAKE(kPreference << 16, static_cast<std::uint32_t>(__builtin_bswap16(ETH_P_ALL)));
}

template <class Struct>
std::optional<Struct> struct_of(ByteView bytes) {
  Struct value{};
  if (bytes.size() < sizeof value) return std::nullopt;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

template <class Struct>
void put_struct(MessageBuilder& builder, std::uint16_t type, const Struct& value) {
  builder.put(type, {reinterpret_cast<const std::uint8_t*>(&value), sizeof value});
}

tcmsg at(int link, std::uint32_t parent, std::uint32_t handle = 0, std::uint32_t info = 0) {
  tcmsg header{};
  header.tcm_ifindex = link;
  header.tcm_parent = parent;
  header.tcm_handle = handle;
  header.tcm_info = info;
  return header;
}

std::uint32_t low_word(std::uint64_t rate) {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(rate, UINT32_MAX));
}

MessageBuilder bucket_message(std::uint32_t sequence, int link, const Bucket& bucket) {
  MessageBuilder builder;
  builder.begin(RTM_NEWQDISC, kChange | NLM_F_CREATE | NLM_F_REPLACE, sequence,
                at(link, TC_H_ROOT, kBucketHandle));
  builder.put_string(TCA_KIND, "tbf");
  const auto options = builder.begin_nest(TCA_OPTIONS);
  tc_tbf_qopt parameters{};
  parameters.rate.linklayer = TC_LINKLAYER_ETHERNET;
  parameters.rate.rate = low_word(bucket.rate);
  parameters.peakrate.linklayer = TC_LINKLAYER_ETHERNET;
  parameters.peakrate.rate = low_word(bucket.peak);
  parameters.limit = bucket.queue;
  put_struct(builder, TCA_TBF_PARMS, parameters);
  if (bucket.rate > UINT32_MAX) put_struct(builder, TCA_TBF_RATE64, bucket.rate);
  builder.put_u32(TCA_TBF_BURST, bucket.burst);
  if (bucket.peak != 0) {
    if (bucket.peak > UINT32_MAX) put_struct(builder, TCA_TBF_PRATE64, bucket.peak);
    builder.put_u32(TCA_TBF_PBURST, bucket.peak_burst);
  }
  builder.end_nest(options);
  builder.end();
  return builder;
}

// The kernel tells a size as the time it takes, in units of 64 ns, 32 bits of them; its arithmetic is good to
// some 30 bits.
bool is_time_of(std::uint32_t told, std::uint64_t bytes, std::uint64_t rate) {
  const auto nanoseconds = static_cast<unsigned __int128>(bytes) * 1'000'000'000 / rate;
  const auto units = static_cast<std::uint64_t>(nanoseconds >> 6);
  const auto slack = static_cast<std::int64_t>((units >> 28) + 2);
  const auto off = static_cast<std::int32_t>(told - static_cast<std::uint32_t>(units));
  return std::abs(std::int64_t{off}) <= slack;
}

std::uint64_t rate_in(const Attributes& options) {
  const auto told = struct_of<tc_tbf_qopt>(options.bytes(TCA_TBF_PARMS));
  if (!told) return 0;
  return struct_of<std::uint64_t>(options.bytes(TCA_TBF_RATE64)).value_or(told->rate.rate);
}

bool is_bucket(const Attributes& options, const Bucket& wanted) {
  const auto told = struct_of<tc_tbf_qopt>(options.bytes(TCA_TBF_PARMS));
  if (!told) return false;
  const auto peak = struct_of<std::uint64_t>(options.bytes(TCA_TBF_PRATE64)).value_or(told->peakrate.rate);
  return rate_in(options) == wanted.rate && peak == wanted.peak && told->limit == wanted.queue &&
         is_time_of(told->buffer, wanted.burst, wanted.rate) &&
         (wanted.peak == 0 || is_time_of(told->mtu, wanted.peak_burst, wanted.peak));
}

std::uint32_t waiting_in(const Attributes& queue) {
  const auto statistics = Attributes::of_nest(queue[TCA_STATS2], TCA_STATS_MAX + 1);
  const auto told = struct_of<gnet_stats_queue>(statistics.bytes(TCA_STATS_QUEUE));
  return told ? told->backlog : 0;
}

// Of a filter's message: the link that all packets are led into, where the filter is one of ours.
std::optional<int> relay_in(MessageView message) {
  const auto& header = header_of<tcmsg>(message);
  if (message.nlmsg_type != RTM_NEWTFILTER || TC_H_MAJ(header.tcm_info) >> 16 != kPreference)
    return std::nullopt;
  const auto filter = Attributes::of_message(message, sizeof(tcmsg), TCA_MAX + 1);
  if (filter.text(TCA_KIND) != "u32" || !filter.has(TCA_OPTIONS)) return std::nullopt;
  const auto options = Attributes::of_nest(filter[TCA_OPTIONS], TCA_U32_MAX + 1);
  if (!options.has(TCA_U32_SEL) || !options.has(TCA_U32_ACT)) return std::nullopt;
  const auto actions = Attributes::of_nest(options[TCA_U32_ACT], 2);
  if (!actions.has(1)) return std::nullopt;
  const auto action = Attributes::of_nest(actions[1], TCA_ACT_MAX + 1);
  if (action.text(TCA_ACT_KIND) != "mirred" || !action.has(TCA_ACT_OPTIONS)) return std::nullopt;
  const auto mirred = Attributes::of_nest(action[TCA_ACT_OPTIONS], TCA_MIRRED_MAX + 1);
  const auto parameters = struct_of<tc_mirred>(mirred.bytes(TCA_MIRRED_PARMS));
  if (!parameters || parameters->eaction != TCA_EGRESS_REDIR) return std::nullopt;
  return static_cast<int>(parameters->ifindex);
}

MessageBuilder filter_message(std::uint32_t sequence, int link, std::uint32_t handle, int relay) {
  MessageBuilder builder;
  builder.begin(RTM_NEWTFILTER, kChange | NLM_F_CREATE | NLM_F_EXCL, sequence,
                at(link, kIngress, handle, filter_info()));
  builder.put_string(TCA_KIND, "u32");
  const auto options = builder.begin_nest(TCA_OPTIONS);
  tc_u32_sel everything{};
  everything.flags = TC_U32_TERMINAL;
  everything.nkeys = 1;
  std::array<std::uint8_t, sizeof(tc_u32_sel) + sizeof(tc_u32_key)> selector{};  // a key whose mask is 0
  std::memcpy(selector.data(), &everything, sizeof everything);
  builder.put(TCA_U32_SEL, selector);
  const auto actions = builder.begin_nest(TCA_U32_ACT);
  const auto first = builder.begin_nest(1);
  builder.put_string(TCA_ACT_KIND, "mirred");
  const auto action = builder.begin_nest(TCA_ACT_OPTIONS);
  tc_mirred parameters{};
  parameters.action = TC_ACT_STOLEN;
  parameters.eaction = TCA_EGRESS_REDIR;
  parameters.ifindex = static_cast<std::uint32_t>(relay);
  put_struct(builder, TCA_MIRRED_PARMS, parameters);
  builder.end_nest(action);
  builder.end_nest(first);
  builder.end_nest(actions);
  builder.end_nest(options);
  builder.end();
  return builder;
}

}  // namespace

std::string relay_name(int link) {
  return fmt::format("{}{:x}", kNameStart, link);
}

std::optional<int> link_of_relay(std::string_view name) {
  if (!name.starts_with(kNameStart)) return std::nullopt;
  name.remove_prefix(kNameStart.size());
  int link = 0;
  const auto read = std::from_chars(name.data(), name.data() + name.size(), link, 16);
  if (read.ec != std::errc() || read.ptr != name.data() + name.size() || link <= 0) return std::nullopt;
  return link;
}

Result<std::unique_ptr<NetlinkQueues>> NetlinkQueues::open() {
  TRY(auto socket, NetlinkSocket::open(NETLINK_ROUTE));
  return std::make_unique<NetlinkQueues>(std::move(socket));
}

Result<std::map<Passing, Limit>> NetlinkQueues::limits(const std::map<Passing, Bucket>& wanted) {
  std::map<Passing, Limit> limits;
  std::map<int, int> link_by_relay;
  MessageBuilder links;
  links.begin(RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, socket_.next_sequence(), ifinfomsg{});
  links.end();
  TRY_VOID(socket_.query(links.bytes(), [&](MessageView message) {
    if (message.nlmsg_type != RTM_NEWLINK) return;
    const auto& header = header_of<ifinfomsg>(message);
    const auto attributes = Attributes::of_message(message, sizeof(ifinfomsg), IFLA_STATS64 + 1);
    const auto link = link_of_relay(attributes.text(IFLA_IFNAME));
    if (!link || !attributes.has(IFLA_LINKINFO)) return;
    if (Attributes::of_nest(attributes[IFLA_LINKINFO], IFLA_INFO_KIND + 1).text(IFLA_INFO_KIND) != "ifb")
      return;
    Limit limit{.holder = header.ifi_index, .up = (header.ifi_flags & IFF_UP) != 0};
    // What has come into a relay, and what has come out of it.
    const auto passed = struct_of<rtnl_link_stats64>(attributes.bytes(IFLA_STATS64));
    if (passed && passed->rx_packets > passed->tx_packets + passed->rx_dropped + passed->tx_dropped)
      limit.waiting = 1;
    limits.emplace(Passing{*link, Passage::kIn}, limit);
    link_by_relay.emplace(header.ifi_index, *link);
  }));
  MessageBuilder queues;
  queues.begin(RTM_GETQDISC, NLM_F_REQUEST | NLM_F_DUMP, socket_.next_sequence(), tcmsg{});
  queues.end();
  TRY_VOID(socket_.query(queues.bytes(), [&](MessageView message) {
    const auto& header = header_of<tcmsg>(message);
    if (header.tcm_handle != kBucketHandle) return;
    const auto queue = Attributes::of_message(message, sizeof(tcmsg), TCA_MAX + 1);
    if (queue.text(TCA_KIND) != "tbf" || !queue.has(TCA_OPTIONS)) return;
    const auto relayed = link_by_relay.find(header.tcm_ifindex);
    const Passing passing = relayed == link_by_relay.end() ? Passing{header.tcm_ifindex, Passage::kOut}
                                                           : Passing{relayed->second, Passage::kIn};
    auto& limit = limits.emplace(passing, Limit{.holder = header.tcm_ifindex, .up = true}).first->second;
    const auto options = Attributes::of_nest(queue[TCA_OPTIONS], TCA_TBF_MAX + 1);
    limit.rate = rate_in(options);
    limit.waiting += waiting_in(queue);
    const auto bucket = wanted.find(passing);
    limit.as_wanted = bucket != wanted.end() && is_bucket(options, bucket->second);
  }));
  return limits;
}

Result<int> NetlinkQueues::index_of(const std::string& name) {
  MessageBuilder request;
  request.begin(RTM_GETLINK, kChange, socket_.next_sequence(), ifinfomsg{});
  request.put_string(IFLA_IFNAME, name);
  request.end();
  int index = 0;
  TRY_VOID(socket_.query(request.bytes(), [&](MessageView message) {
    if (message.nlmsg_type == RTM_NEWLINK) index = header_of<ifinfomsg>(message).ifi_index;
  }));
  return index;
}

Result<void> NetlinkQueues::make_relay(const std::string& name) {
  MessageBuilder make;
  make.begin(RTM_NEWLINK, kChange | NLM_F_CREATE | NLM_F_EXCL, socket_.next_sequence(), ifinfomsg{});
  make.put_string(IFLA_IFNAME, name);
  const auto info = make.begin_nest(IFLA_LINKINFO);
  make.put_string(IFLA_INFO_KIND, "ifb");
  make.end_nest(info);
  make.end();
  return socket_.change(make, fmt::format("make the interface {} (ifb), which limits bandwidth", name),
                        EEXIST);
}

Result<void> NetlinkQueues::check_queue(int link) {
  MessageBuilder queues;
  queues.begin(RTM_GETQDISC, NLM_F_REQUEST | NLM_F_DUMP, socket_.next_sequence(), tcmsg{});
  queues.end();
  std::string other;
  TRY_VOID(socket_.query(queues.bytes(), [&](MessageView message) {
    const auto& header = header_of<tcmsg>(message);
    const bool root = header.tcm_ifindex == link && header.tcm_parent == TC_H_ROOT;
    // One without a handle is of the kernel's making.
    if (!root || header.tcm_handle == 0 || header.tcm_handle == kBucketHandle) return;
    other = Attributes::of_message(message, sizeof(tcmsg), TCA_MAX + 1).text(TCA_KIND);
  }));
  if (other.empty()) return {};
  return fail(ErrorCode::kAlreadyExists,
              "what goes out at link {} cannot be limited: somebody has a queue there (tc qdisc: {})", link,
              other);
}

Result<void> NetlinkQueues::limit(const Passing& passing, const Bucket& bucket) {
  if (passing.passage == Passage::kOut) {
    TRY_VOID(check_queue(passing.link));
    return socket_.change(bucket_message(socket_.next_sequence(), passing.link, bucket),
                          fmt::format("limit what goes out at link {} (tbf)", passing.link));
  }
  const auto name = relay_name(passing.link);
  TRY_VOID(make_relay(name));
  TRY(const auto relay, index_of(name));
  TRY_VOID(socket_.change(bucket_message(socket_.next_sequence(), relay, bucket),
                          fmt::format("limit {} (tbf)", name)));
  ifinfomsg header{};
  header.ifi_index = relay;
  header.ifi_flags = IFF_UP;
  header.ifi_change = IFF_UP;
  MessageBuilder raise;
  raise.begin(RTM_NEWLINK, kChange, socket_.next_sequence(), header);
  raise.end();
  return socket_.change(raise, fmt::format("bring {} up", name));
}

Result<void> NetlinkQueues::remove(const Passing& passing) {
  MessageBuilder builder;
  if (passing.passage == Passage::kOut) {
    builder.begin(RTM_DELQDISC, kChange, socket_.next_sequence(), at(passing.link, TC_H_ROOT, kBucketHandle));
    builder.end();
    const auto gone = socket_.change(
        builder, fmt::format("no longer limit what goes out at link {}", passing.link), ENOENT);
    const bool absent =
        !gone && (gone.error().code == ErrorCode::kNotFound || gone.error().code == ErrorCode::kInvalid);
    return absent ? Result<void>() : gone;  // the link, or a queue of this handle
  }
  const auto name = relay_name(passing.link);
  builder.begin(RTM_DELLINK, kChange, socket_.next_sequence(), ifinfomsg{});
  builder.put_string(IFLA_IFNAME, name);
  builder.end();
  return socket_.change(builder, fmt::format("remove the interface {}", name), ENODEV);
}

Result<std::optional<NetlinkQueues::Filter>> NetlinkQueues::filter(int link) {
  MessageBuilder request;
  request.begin(RTM_GETTFILTER, NLM_F_REQUEST | NLM_F_DUMP, socket_.next_sequence(), at(link, kIngress));
  request.end();
  std::optional<Filter> found;
  TRY_VOID(socket_.query(request.bytes(), [&](MessageView message) {
    if (const auto relay = relay_in(message))
      found = Filter{.relay = *relay,
                     .made_hook = TC_U32_NODE(header_of<tcmsg>(message).tcm_handle) == kFirstFilter};
  }));
  return found;
}

Result<int> NetlinkQueues::detour(int link) {
  TRY(const auto found, filter(link));
  return found ? found->relay : 0;
}

Result<void> NetlinkQueues::lead(int link) {
  TRY_VOID(release(link));
  TRY(const auto relay, index_of(relay_name(link)));
  MessageBuilder hook;
  hook.begin(RTM_NEWQDISC, kChange | NLM_F_CREATE | NLM_F_EXCL, socket_.next_sequence(),
             at(link, TC_H_CLSACT, kHookHandle));
  hook.put_string(TCA_KIND, "clsact");
  hook.end();
  const auto made = socket_.change(hook, "make a hook for a limit (clsact)");
  if (!made && made.error().code != ErrorCode::kAlreadyExists) return made;
  return socket_.change(
      filter_message(socket_.next_sequence(), link, made ? kFirstFilter : kGuestFilter, relay),
      "lead packets through their limit (u32, mirred)");
}

Result<bool> NetlinkQueues::has_filters(int link) {
  bool some = false;
  for (const auto hook : {TC_H_MIN_INGRESS, TC_H_MIN_EGRESS}) {
    MessageBuilder request;
    request.begin(RTM_GETTFILTER, NLM_F_REQUEST | NLM_F_DUMP, socket_.next_sequence(),
                  at(link, TC_H_MAKE(TC_H_CLSACT, hook)));
    request.end();
    TRY_VOID(socket_.query(request.bytes(),
                           [&](MessageView message) { some |= message.nlmsg_type == RTM_NEWTFILTER; }));
  }
  return some;
}

Result<void> NetlinkQueues::release(int link) {
  TRY(const auto there, filter(link));
  if (!there) return {};
  MessageBuilder builder;
  builder.begin(RTM_DELTFILTER, kChange, socket_.next_sequence(), at(link, kIngress, 0, filter_info()));
  builder.end();
  TRY_VOID(socket_.change(builder, "lead packets past a limit", ENOENT));
  TRY(const bool used, has_filters(link));
  if (used || !there->made_hook) return {};
  MessageBuilder hook;
  hook.begin(RTM_DELQDISC, kChange, socket_.next_sequence(), at(link, TC_H_CLSACT, kHookHandle));
  hook.end();
  return socket_.change(hook, "remove a hook that was made for a limit", ENOENT);
}

}  // namespace ocicat::kernel
