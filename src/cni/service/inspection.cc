#include "cni/service/inspection.h"

#include <algorithm>
#include <boost/json.hpp>
#include <set>

#include "cni/configuration.h"
#include "cni/endpoint.h"
#include "cni/service/gates.h"
#include "cni/service/wiring.h"
#include "ipam/claims.h"
#include "ipam/settings.h"
#include "network/pool_choice.h"
#include "network/pool_usage.h"
#include "resources/decode.h"

namespace ocicat::cni {
namespace {

constexpr std::chrono::seconds kLookPatience{2};

// The runtime is to hand on what ADD answered.
Outcome<void> check_previous(const Attachment& attachment, const PreviousResult& previous) {
  const bool has_host = previous.host_interfaces.contains(attachment.host_interface);
  if (!previous.has_interface || !has_host) {
    return not_as_added(
        fmt::format("prevResult does not have {}, which ADD made; see: ip link show {}",
                    has_host ? attachment.ifname + " of the container" : attachment.host_interface,
                    attachment.host_interface));
  }
  const auto has = [](const std::vector<IpAddress>& addresses, const IpAddress& address) {
    return std::ranges::find(addresses, address) != addresses.end();
  };
  for (const auto& address : previous.addresses) {
    if (!has(attachment.addresses, address))
      return not_as_added(
          fmt::format("prevResult has {0}, which ADD did not give; who has it says: ocicat ipam show {0}",
                      address.to_string()));
  }
  for (const auto& address : attachment.addresses) {
    if (!has(previous.addresses, address))
      return not_as_added(fmt::format(
          "prevResult does not have {0}, which ADD gave; see: ocicat ipam show {0}", address.to_string()));
  }
  return {};
}

Outcome<void> check_endpoint(Context& context, const Attachment& attachment) {
  const auto watch = context.parts.enforcement->watch(attachment.endpoint);
  const auto documents = context.documents.lend();
  const auto document = documents->get(attachment.endpoint);
  if (!document && document.error().code == ErrorCode::kNotFound)
    return not_as_added(attachment.endpoint.to_string() + " is not at the server; see: ocicat get wep -A");
  if (!document) return std::unexpected(failure_of(document.error(), "the server does not answer"));
  if (container_of(*document) != documented_container(attachment.container_id)) {
    return not_as_added(fmt::format("{} is about another container; see: ocicat get wep -A -o yaml",
                                    attachment.endpoint.to_string()));
  }
  context.parts.enforcement->look();
  if (!watch->wait(0, attachment.addresses, std::chrono::steady_clock::now() + kLookPatience)) {
    const auto why = watch->why_not();
    return not_as_added(fmt::format("policy and routes of {} are not in force{}{}; see: ocicat status",
                                    attachment.endpoint.to_string(), why.empty() ? "" : ": ", why));
  }
  return {};
}

std::unexpected<Failure> not_available(std::string why) {
  return refuse(FailureCode::kNotAvailable, "workloads cannot be given addresses and policy now",
                std::move(why));
}

}  // namespace

Outcome<void> check(Context& context, const Call& call, const std::string& namespace_path) {
  TRY(const auto previous, previous_result(call));
  const Turns::Turn turn(context.turns, call.attachment());
  auto attachment = context.journal->find(call.attachment());
  if (!attachment || attachment->phase != Attachment::Phase::kAdded ||
      is_anothers(context, *attachment, call.network)) {
    return refuse(FailureCode::kUnknownContainer, "the container has no such interface of ours",
                  fmt::format("ADD of network {} was not called for {} in container {}, or it failed; see: "
                              "ocicat get wep -A",
                              call.network, call.ifname, call.container_id));
  }
  TRY_VOID(check_previous(*attachment, previous));
  attachment->mac = previous.mac.value_or(attachment->mac);  // a later plugin of the chain may give another
  TRY_VOID(check_ready(context));
  TRY_VOID(check_wiring(context, *attachment, namespace_path, attachment->mac));
  return check_endpoint(context, *attachment);
}

// Of the pools in use, those that have no address left for this host. Nothing where no ADD has found that.
Result<std::set<std::string>> full_pools(Context& context, ipam::Documents& documents,
                                         const ipam::Settings& settings) {
  std::set<std::string> full;
  if (!context.ran_out) return full;
  std::vector<IpamBlock> blocks;
  TRY(const auto listing, ipam::list_blocks(documents));
  blocks.reserve(listing.blocks.size());
  for (const auto& [cidr, stored] : listing.blocks) blocks.push_back(stored.value);
  const auto unreadable = listing.unreadable_blocks();
  const auto now = std::chrono::time_point_cast<TimePoint::duration>(std::chrono::system_clock::now());
  const BlockOwner host{BlockOwner::Type::kHost, context.options.node};
  for (const auto& pool : settings.pools) {
    if (!pool.disabled && !network::has_room(pool, host, blocks, unreadable, settings.configuration,
                                             settings.reservations, now))
      full.insert(pool.metadata.name);
  }
  if (full.empty()) context.ran_out = false;
  return full;
}

// Where another plugin gives the addresses, which is asked for its own part.
Outcome<void> server_answers(Context& context) {
  const auto node = context.documents.lend()->get({Kind::kNode, "", context.options.node});
  if (node || node.error().code == ErrorCode::kNotFound) return {};
  return not_available(node.error().message + "; see: ocicat status");
}

Outcome<void> status(Context& context, const Call& call) {
  TRY(const auto configuration, read_configuration(call));
  // Who wires the containers himself needs no policy of ours in force.
  const auto why = call.role == Role::kNetwork ? context.parts.why_not_ready() : std::string();
  if (!why.empty()) return not_available(why + "; see: ocicat status");
  if (auto locked = context.parts.why_locked(); !locked.empty()) return not_available(std::move(locked));
  if (const auto open = gates_are_open(configuration.readiness_gates); !open)
    return not_available(open.error().details);
  if (!configuration.address_plugin.empty()) return server_answers(context);
  const auto documents = context.documents.lend();
  const auto settings = ipam::read_settings(*documents);
  if (!settings) return not_available(settings.error().message + "; see: ocicat status");
  const auto node = documents->get({Kind::kNode, "", context.options.node});
  if (!node && node.error().code != ErrorCode::kNotFound)
    return not_available(node.error().message + "; see: ocicat status");
  Labels labels;
  if (node) {
    if (const auto decoded = decode(Kind::kNode, *node)) labels = std::get<Node>(*decoded).metadata.labels;
  }
  const auto full = full_pools(context, *documents, *settings);
  if (!full) return not_available(full.error().message + "; see: ocicat status");
  const auto has_room = [&](const IpPool& pool) { return !full->contains(pool.metadata.name); };
  for (const auto family : kFamilies) {
    const bool wanted = family == Family::kIpv4 ? configuration.ipv4 : configuration.ipv6;
    if (!wanted) continue;
    const network::PoolQuery query{
        .family = family,
        .named = family == Family::kIpv4 ? configuration.ipv4_pools : configuration.ipv6_pools,
        .host = context.options.node,
        .host_labels = labels,
        .namespace_labels = Labels{}};
    const auto pools = network::choose_pools(settings->pools, query);
    // One for some namespaces only is enough: which ones come, nobody knows.
    const bool for_some = std::ranges::any_of(settings->pools, [&](const IpPool& pool) {
      return pool.cidr.family() == family && !pool.disabled && !pool.namespace_selector.empty() &&
             has_room(pool);
    });
    if (for_some) continue;
    if (!pools) return not_available(pools.error().message + "; see: ocicat ipam show");
    if (std::ranges::none_of(*pools, [&](const auto* pool) { return has_room(*pool); })) {
      return not_available(
          fmt::format("no IPv{} address is left in any pool for this host; see: ocicat ipam show",
                      family == Family::kIpv4 ? 4 : 6));
    }
  }
  return {};
}

}  // namespace ocicat::cni
