#include "agent/own_node.h"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <vector>

#include "ipam/block_edits.h"
#include "ipam/settings.h"
#include "ipam/tunnel_address.h"
#include "network/address_block.h"
#include "network/ipam_block.h"
#include "network/pool_choice.h"
#include "resources/decode.h"
#include "resources/ipam.h"

namespace ocicat::agent {
namespace {

namespace json = boost::json;

// A kind of tunnel, and where the Node says the address of its end here.
struct Place {
  ipam::Tunnel tunnel;
  Family family;
  IpPool::Encapsulation IpPool::* mode;
  const char* field;  // of spec, or of spec.bgp
  bool of_bgp;
  const char* name;  // for people
};

constexpr std::array kPlaces{
    Place{ipam::Tunnel::kVxlan, Family::kIpv4, &IpPool::vxlan, "ipv4VXLANTunnelAddr", false, "VXLAN (IPv4)"},
    Place{ipam::Tunnel::kVxlanV6, Family::kIpv6, &IpPool::vxlan, "ipv6VXLANTunnelAddr", false,
          "VXLAN (IPv6)"},
    Place{ipam::Tunnel::kIpip, Family::kIpv4, &IpPool::ipip, "ipv4IPIPTunnelAddr", true, "IPIP"}};

// What a crash left is said, taken out, and something else given; the rest is for who intervenes.
constexpr int kMostLooks = 8;

std::optional<IpAddress> said_by(const Node& node, const Place& place) {
  if (place.of_bgp) return node.ipip;
  return node.vxlan[place.family == Family::kIpv4 ? 0 : 1].address;
}

json::object& member(json::object& object, std::string_view name) {
  auto& value = object[name];
  return value.is_object() ? value.get_object() : value.emplace_object();
}

void say(json::object& document, const Place& place, const std::optional<IpAddress>& address) {
  auto& spec = member(document, "spec");
  auto& holder = place.of_bgp ? member(spec, "bgp") : spec;
  if (address) {
    holder[place.field] = address->to_string();
  } else {
    holder.erase(place.field);
  }
}

bool asks_for(const IpPool& pool, const Place& place) {
  return pool.cidr.family() == place.family && pool.*place.mode != IpPool::Encapsulation::kNever;
}

bool has_address(const Node& node, Family family) {
  return (family == Family::kIpv4 ? node.ipv4 : node.ipv6).has_value();
}

// An address that is given under a handle.
struct Held {
  IpAddress address;
  Prefix block;
};

Result<std::vector<Held>> held_under(ipam::Documents& documents, const std::string& handle) {
  const auto document = documents.get(handle_key(handle));
  if (!document && document.error().code == ErrorCode::kNotFound) return {};
  if (!document) return std::unexpected(document.error());
  TRY(const auto stored, decode_handle(*document));
  std::vector<Held> held;
  for (const auto& [cidr, count] : stored.value.blocks) {
    const auto there = documents.get(block_key(cidr));
    if (!there && there.error().code == ErrorCode::kNotFound) continue;
    if (!there) return std::unexpected(there.error());
    TRY(const auto block, decode_block(*there));
    for (const auto& address : network::given_under(block.value, handle)) held.push_back({address, cidr});
  }
  return held;
}

// Writes the block as it is, so that a release that is still on its way, of an agent that died, counts for
// nothing. Whether the address is still given.
Result<bool> keep(ipam::Documents& documents, const Held& held, const std::string& handle) {
  bool is_there = false;
  const ipam::BlockEdit edit = [&](const IpamBlock& block, bool /*unsure*/) {
    const auto given = network::given_under(block, handle);
    is_there = std::ranges::find(given, held.address) != given.end();
    return is_there;
  };
  ipam::BlockCache nothing;
  TRY(const bool exists, ipam::edit_blocks(documents, nothing, {{held.block, edit}}).at(held.block));
  return exists && is_there;
}

}  // namespace

// One look, and what comes of it.
struct OwnNode::Look {
  ipam::Documents& documents;
  ipam::Allocator& allocator;
  const std::string& host;
  const std::vector<IpPool>& pools;
  const Node& node;
  const Calm& calm;
  json::object& document;           // of the Node
  bool changed = false;             // it is to be written
  bool unfinished = false;          // and then looked at again
  std::vector<std::string> left{};  // handles that are to be released once it has been
  std::chrono::milliseconds next = kNextLook;

  Result<void> settle(const Place& place, std::optional<Clock::time_point>& missing);
  bool waits_for_pool(std::optional<Clock::time_point>& missing);
  void take_out(const Place& place, const std::string& handle);
  bool give_this(const Place& place, const IpAddress& address);
  Result<IpAddress> give(const Place& place);
};

// That very one; false: it cannot be had.
bool OwnNode::Look::give_this(const Place& place, const IpAddress& address) {
  auto request = ipam::tunnel_request(place.tunnel, host);
  request.ipv4 = request.ipv6 = 0;
  request.addresses = {address};
  return allocator.assign(request).has_value();
}

// Any. Nothing is given so far.
Result<IpAddress> OwnNode::Look::give(const Place& place) {
  auto request = ipam::tunnel_request(place.tunnel, host);
  auto& named = request.pools.of(place.family);
  // Named pools are taken whatever they select, so what does not select this host is left out here.
  for (const auto& pool : pools) {
    if (asks_for(pool, place) && !pool.disabled && pool.allows(PoolUse::kTunnel) &&
        network::selects_host(pool, node.metadata.labels))
      named.push_back(pool.metadata.name);
  }
  if (named.empty()) {
    return fail(
        ErrorCode::kExhausted,
        "every IPPool that asks for it is disabled, is not for tunnels (allowedUses) or does not select "
        "this host; see: ocicat get ippools");
  }
  TRY(const auto given, allocator.assign(request));
  return given.items.front().address;
}

// Whether the pool that is missing may come back still.
bool OwnNode::Look::waits_for_pool(std::optional<Clock::time_point>& missing) {
  const auto now = calm.now();
  if (!missing) missing = now;
  const auto left_to_wait = std::chrono::ceil<std::chrono::milliseconds>(*missing + calm.patience - now);
  if (left_to_wait <= std::chrono::milliseconds::zero()) return false;
  next = std::min(next, left_to_wait);
  return true;
}

Result<void> OwnNode::Look::settle(const Place& place, std::optional<Clock::time_point>& missing) {
  const bool wanted = has_address(node, place.family) &&
                      std::ranges::any_of(pools, [&](const auto& pool) { return asks_for(pool, place); });
  const auto handle = ipam::tunnel_handle(place.tunnel, host);
  const auto said = said_by(node, place);
  const bool in_pool = said && network::pool_of(pools, *said) != nullptr;
  TRY(const auto held, held_under(documents, handle));
  const bool ours = said && std::ranges::find(held, *said, &Held::address) != held.end();
  if (!ours || in_pool) missing.reset();
  if (said && !ours && (!in_pool || !wanted)) return {};  // by hand
  if (ours && in_pool && held.size() == 1) return {};     // also where it is not wanted: for the next time
  if (ours && !in_pool && waits_for_pool(missing)) return {};
  if (ours) {
    take_out(place, handle);
    return {};
  }
  if (!held.empty()) {
    // A write of the Node that says it may still be on its way. So it is said, and then stays or is taken
    // out: after either no such write counts.
    TRY(const bool kept, keep(documents, held.front(), handle));
    if (kept) {
      say(document, place, held.front().address);
      changed = true;
    }
    unfinished = true;
    return {};
  }
  if (!wanted) {
    left.push_back(handle);
    return {};
  }
  // What is on its way to be given, for an agent that died, does not come any more.
  TRY_VOID(allocator.release(handle));
  if (said) {
    if (!give_this(place, *said)) take_out(place, handle);
    return {};
  }
  TRY(const auto address, give(place));
  say(document, place, address);
  changed = true;
  return {};
}

// The Node says it no more, then all that the handle has goes back, then it is looked what else is to be.
void OwnNode::Look::take_out(const Place& place, const std::string& handle) {
  say(document, place, {});
  left.push_back(handle);
  changed = unfinished = true;
}

Result<std::optional<json::object>> OwnNode::find_or_make() {
  auto document = documents_.get(ResourceKey{Kind::kNode, "", name_});
  if (document) {
    found_ = true;
    return *std::move(document);
  }
  if (document.error().code != ErrorCode::kNotFound) return std::unexpected(document.error());
  if (found_) return std::nullopt;
  json::object bgp;
  for (const auto family : kFamilies) {
    if (const auto address = detect_(family))
      bgp[family == Family::kIpv4 ? "ipv4Address" : "ipv6Address"] = address->to_string();
  }
  if (bgp.empty()) {
    return fail(
        ErrorCode::kNotFound,
        "there is no Node {}, and this host has no address that others could know it by: write one, with "
        "spec.bgp.ipv4Address or ipv6Address, and `ocicat apply` it",
        name_);
  }
  TRY(auto made, documents_.create({{"apiVersion", "projectcalico.org/v3"},
                                    {"kind", "Node"},
                                    {"metadata", json::object{{"name", name_}}},
                                    {"spec", json::object{{"bgp", std::move(bgp)}}}}));
  found_ = true;
  return made;
}

Result<std::chrono::milliseconds> OwnNode::settle() {
  for (int looks = 0; looks < kMostLooks; ++looks) {
    TRY(const auto next, look());
    if (next) return *next;
  }
  return fail(ErrorCode::kConflict, "Node {}: others change it, or its tunnels' addresses, all the time",
              name_);
}

Result<std::optional<std::chrono::milliseconds>> OwnNode::look() {
  TRY(auto document, find_or_make());
  if (!document) return kNextLook;
  TRY(const auto resource, decode(Kind::kNode, *document));
  TRY(const auto settings, ipam::read_settings(documents_));
  Look look{documents_, allocator_, name_, settings.pools, std::get<Node>(resource), calm_, *document};
  std::optional<Error> failure;
  for (std::size_t i = 0; i < kPlaces.size(); ++i) {
    auto done = look.settle(kPlaces.at(i), missing_.at(i));
    if (!done && !failure)
      failure = Error{done.error().code, fmt::format("{}: no address for the tunnel's end here: {}",
                                                     kPlaces.at(i).name, done.error().message)};
  }
  if (look.changed) TRY_VOID(documents_.update(*document));
  for (const auto& handle : look.left) TRY_VOID(allocator_.release(handle));
  if (look.unfinished) return std::nullopt;  // a failure shows again
  if (failure) return std::unexpected(*std::move(failure));
  return look.next;
}

}  // namespace ocicat::agent
