#include "agent/own_node.h"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <vector>

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

// Whether the address is given under this handle.
Result<bool> is_given(ipam::Documents& documents, const IpAddress& address, const std::string& handle) {
  const auto document = documents.get(handle_key(handle));
  if (!document && document.error().code == ErrorCode::kNotFound) return false;
  if (!document) return std::unexpected(document.error());
  TRY(const auto stored, decode_handle(*document));
  const auto around = std::ranges::find_if(stored.value.blocks,
                                           [&](const auto& entry) { return entry.first.contains(address); });
  if (around == stored.value.blocks.end()) return false;
  const auto there = documents.get(block_key(around->first));
  if (!there && there.error().code == ErrorCode::kNotFound) return false;
  if (!there) return std::unexpected(there.error());
  TRY(const auto block, decode_block(*there));
  const auto* attribute = network::attribute_of(block.value, *network::ordinal_of(around->first, address));
  return attribute != nullptr && !attribute->released_at && attribute->handle == handle;
}

}  // namespace

// One look, and what comes of it.
struct OwnNode::Look {
  ipam::Documents& documents;
  ipam::Allocator& allocator;
  const std::string& host;
  const std::vector<IpPool>& pools;
  const Node& node;
  json::object& document;           // of the Node
  bool changed = false;             // it is to be written
  std::vector<std::string> left{};  // handles that are to be released once it has been

  Result<void> settle(const Place& place);
  Result<IpAddress> give(const Place& place, const std::optional<IpAddress>& before);
};

// The address that the Node says already where that can be had, else any.
Result<IpAddress> OwnNode::Look::give(const Place& place, const std::optional<IpAddress>& before) {
  auto request = ipam::tunnel_request(place.tunnel, host);
  // What was given and the Node never said.
  TRY_VOID(allocator.release(request.handle));
  if (before) {
    auto same = request;
    same.ipv4 = same.ipv6 = 0;
    same.addresses = {*before};
    if (const auto given = allocator.assign(same)) return *before;
    TRY_VOID(allocator.release(request.handle));
  }
  // Named pools are taken whatever they select, so what does not select this host is left out here.
  for (const auto& pool : pools) {
    if (asks_for(pool, place) && !pool.disabled && pool.allows(PoolUse::kTunnel) &&
        network::selects_host(pool, node.metadata.labels))
      request.pools.push_back(pool.metadata.name);
  }
  if (request.pools.empty()) {
    return fail(
        ErrorCode::kExhausted,
        "every IPPool that asks for it is disabled, is not for tunnels (allowedUses) or does not select "
        "this host; see: ocicat get ippools");
  }
  TRY(const auto given, allocator.assign(request));
  return given.items.front().address;
}

Result<void> OwnNode::Look::settle(const Place& place) {
  const bool wanted = has_address(node, place.family) &&
                      std::ranges::any_of(pools, [&](const auto& pool) { return asks_for(pool, place); });
  const auto handle = ipam::tunnel_handle(place.tunnel, host);
  const auto said = said_by(node, place);
  const bool in_pool = said && network::pool_of(pools, *said) != nullptr;
  bool ours = false;
  if (said) {
    TRY(ours, is_given(documents, *said, handle));
  }
  if (said && !ours && (!in_pool || !wanted)) return {};  // by hand
  if (!wanted) {
    if (ours && in_pool) return {};  // for the next time
    if (said) {
      say(document, place, {});
      changed = true;
    }
    left.push_back(handle);
    return {};
  }
  if (ours && in_pool) return {};  // else its pool has gone
  TRY(const auto address, give(place, in_pool ? said : std::nullopt));
  if (address == said) return {};
  say(document, place, address);
  changed = true;
  return {};
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

Result<void> OwnNode::settle() {
  TRY(auto document, find_or_make());
  if (!document) return {};
  TRY(const auto resource, decode(Kind::kNode, *document));
  TRY(const auto settings, ipam::read_settings(documents_));
  Look look{documents_, allocator_, name_, settings.pools, std::get<Node>(resource), *document};
  std::optional<Error> failure;
  for (const auto& place : kPlaces) {
    auto done = look.settle(place);
    if (!done && !failure)
      failure = Error{done.error().code, fmt::format("{}: no address for the tunnel's end here: {}",
                                                     place.name, done.error().message)};
  }
  if (look.changed) TRY_VOID(documents_.update(*document));
  for (const auto& handle : look.left) TRY_VOID(allocator_.release(handle));
  if (failure) return std::unexpected(*std::move(failure));
  return {};
}

}  // namespace ocicat::agent
