#include "views/routes.h"

#include <fmt/ranges.h>
#include <boost/json.hpp>

#include <algorithm>
#include <map>

#include "engine/engine.h"
#include "views/inventory.h"
#include "views/text_table.h"

namespace ocicat::views {
namespace {

using network::Way;
using State = RouteLine::State;

constexpr std::string_view kNoEnd =
    "this host's kernel does not have the tunnel's end, or its interface, or refuses the route; "
    "`ocicat node status` says why";

HostState state_of(const policy::Snapshot& snapshot, const std::string& node) {
  ResourceChanges everything;
  for (const auto& [key, resource] : snapshot) everything.update(key, resource);
  Engine engine({.node = node});
  HostState state;
  engine.update(everything).apply_to(state);
  return state;
}

std::string why_no_way(const policy::Snapshot& snapshot, const RouteLine& line, const std::string& own) {
  const auto family = line.destination.family();
  const auto name_of_family = family == Family::kIpv4 ? "IPv4" : "IPv6";
  if (line.node == own) return "another endpoint has the interface, or it names none";
  for (const auto& name : {line.node, own}) {
    const auto it = snapshot.find({Kind::kNode, "", name});
    const auto* node = it == snapshot.end() ? nullptr : std::get_if<Node>(&it->second);
    if (node == nullptr) return fmt::format("there is no Node {}", name);
    if (!(family == Family::kIpv4 ? node->ipv4 : node->ipv6))
      return fmt::format("Node {} has no {} address (spec.bgp)", name, name_of_family);
    if (!node->vxlan[family == Family::kIpv4 ? 0 : 1].address)
      return fmt::format("Node {} does not say where its {} tunnel ends", name, name_of_family);
  }
  return "no way is known";
}

bool is_tunnel(const Way& way) {
  return way.kind == Way::Kind::kVxlan || way.kind == Way::Kind::kIpip;
}
bool has_no_way(const RouteLine& line) {
  return !line.way || (is_tunnel(*line.way) && !line.way->next_hop);
}

bool leads_as(const KernelWay& there, const Way& way) {
  if (way.kind == Way::Kind::kNowhere || there.nowhere)
    return (way.kind == Way::Kind::kNowhere) == there.nowhere;
  if (way.kind == Way::Kind::kInterface) return there.interface_name == way.interface_name && !there.gateway;
  return there.gateway == way.next_hop;
}

// The longest of BIRD's that covers it.
const KernelWay* of_bird(const std::vector<KernelWay>& kernel, const Prefix& destination) {
  const KernelWay* best = nullptr;
  for (const auto& way : kernel) {
    if (!way.by_bird || !way.destination.contains(destination.address)) continue;
    if (way.destination.length > destination.length) continue;
    if (best == nullptr || way.destination.length > best->destination.length) best = &way;
  }
  return best;
}

std::string_view tunnel_of(const RouteLine& line) {
  if (!line.way) return "";
  return line.way->kind == Way::Kind::kVxlan ? "vxlan" : line.way->kind == Way::Kind::kIpip ? "ipip" : "";
}
std::string via_of(const RouteLine& line) {
  if (line.there && line.there->several) return "several";
  if (line.there) return line.there->gateway ? line.there->gateway->to_string() : "";
  return line.way && line.way->next_hop ? line.way->next_hop->to_string() : "";
}
std::string interface_of(const RouteLine& line) {
  if (line.there ? line.there->nowhere : line.way && line.way->kind == Way::Kind::kNowhere)
    return "blackhole";
  if (line.there) return line.there->interface_name;
  return line.way ? line.way->interface_name : "";
}

void tell_owners(const policy::Snapshot& snapshot, std::map<Prefix, RouteLine>& lines) {
  for (const auto& [key, resource] : snapshot) {
    const auto* block = std::get_if<AddressBlock>(&resource);
    if (block == nullptr) continue;
    if (const auto it = lines.find(block->cidr); it != lines.end()) it->second.node = block->node;
    for (const auto& [address, node] : block->elsewhere) {
      if (const auto it = lines.find(Prefix::host(address)); it != lines.end()) it->second.node = node;
    }
  }
}

// Its own, or that of the block around it where that leads to its host; a new one where there is neither.
RouteLine* line_for(std::map<Prefix, RouteLine>& lines, const IpAddress& address, std::string_view node) {
  for (auto length = bits_of(address.family()); length >= 0; --length) {
    const auto it = lines.find(Prefix{address, static_cast<std::uint8_t>(length)}.masked());
    if (it == lines.end()) continue;
    const auto& [prefix, line] = *it;
    const bool leads_there = line.way && line.way->kind != Way::Kind::kNowhere && line.node == node;
    if (prefix.is_host() || leads_there) return &it->second;
  }
  auto& line = lines[Prefix::host(address)];
  line.destination = Prefix::host(address);
  return &line;
}

// Of several workloads that ask for one address, the first by key is reached under it.
void tell_floating(const policy::Snapshot& snapshot, const Inventory& inventory,
                   std::map<Prefix, RouteLine>& lines) {
  std::map<IpAddress, const Party*> holders;
  for (const auto& party : inventory.endpoints()) {
    const auto& endpoint = std::get<WorkloadEndpoint>(snapshot.at(*party.endpoint));
    for (const auto& [address, own] : endpoint.floating) {
      auto& holder = holders[address];
      if (holder == nullptr || *party.endpoint < *holder->endpoint) holder = &party;
    }
  }
  for (const auto& [address, holder] : holders) {
    const auto line = lines.find(Prefix::host(address));
    if (line == lines.end() || !line->second.workloads.empty()) continue;
    line->second.workloads.push_back(holder->name);
    line->second.node = holder->node;
  }
}

std::string names_of(const std::vector<std::string>& workloads) {
  constexpr std::size_t kShown = 3;
  if (workloads.size() <= kShown) return fmt::format("{}", fmt::join(workloads, ","));
  return fmt::format("{} and {} more", fmt::join(workloads.begin(), workloads.begin() + kShown, ","),
                     workloads.size() - kShown);
}

}  // namespace

std::string_view to_string(State state) {
  switch (state) {
    case State::kUnknown:
      return "";
    case State::kReady:
      return "ready";
    case State::kMissing:
      return "missing";
    case State::kOther:
      return "other";
    case State::kStray:
      return "stray";
    case State::kWaiting:
      return "waiting";
  }
  return "";
}

Result<std::vector<RouteLine>> wanted_routes(const policy::Snapshot& snapshot, const std::string& node) {
  if (!snapshot.contains({Kind::kNode, "", node}))
    return fail(ErrorCode::kNotFound, "there is no Node {}; `ocicat get nodes` shows which there are", node);
  std::map<Prefix, RouteLine> lines;
  for (const auto& [prefix, way] : state_of(snapshot, node).routes) {
    auto& line = lines[prefix];
    line.destination = prefix;
    line.way = way;
  }
  tell_owners(snapshot, lines);
  const Inventory inventory(snapshot);
  for (const auto& party : inventory.endpoints()) {
    for (const auto& address : party.addresses) {
      auto* line = line_for(lines, address, party.node);
      line->workloads.push_back(party.name);
      if (line->node.empty() || party.node == node) line->node = party.node;
    }
  }
  tell_floating(snapshot, inventory, lines);
  std::vector<RouteLine> all;
  for (auto& [prefix, line] : lines) {
    if (has_no_way(line)) {
      line.state = State::kWaiting;
      line.reason = why_no_way(snapshot, line, node);
    }
    all.push_back(std::move(line));
  }
  return all;
}

void compare(std::vector<RouteLine>& lines, const std::vector<KernelWay>& kernel) {
  std::map<Prefix, const KernelWay*> ours;
  for (const auto& way : kernel) {
    if (!way.by_bird) ours.emplace(way.destination, &way);
  }
  for (auto& line : lines) {
    const auto found = ours.find(line.destination);
    const KernelWay* there = found != ours.end() ? found->second : of_bird(kernel, line.destination);
    if (found != ours.end()) ours.erase(found);
    if (there != nullptr) line.there = *there;
    if (!line.way) {
      if (there != nullptr && !there->by_bird) line.state = State::kStray;
    } else if (is_tunnel(*line.way) && there != nullptr && there->nowhere && !there->by_bird) {
      line.state = State::kWaiting;
      if (line.reason.empty()) line.reason = kNoEnd;
    } else if (there == nullptr) {
      line.state = State::kMissing;
    } else {
      // Where BIRD leads, its word counts: reflectors and racks may send it another way.
      line.state = there->by_bird || leads_as(*there, *line.way) ? State::kReady : State::kOther;
    }
  }
  for (const auto& [prefix, way] : ours) {
    RouteLine line;
    line.destination = prefix;
    line.there = *way;
    line.state = State::kStray;
    lines.push_back(std::move(line));
  }
  std::ranges::sort(lines, {}, &RouteLine::destination);
}

std::string to_text(const std::vector<RouteLine>& lines) {
  if (lines.empty()) return "No workload has an address.\n";
  TextTable table;
  table.headers = {"DESTINATION", "VIA", "INTERFACE", "BY", "WORKLOAD", "NODE", "STATE"};
  for (const auto& line : lines) {
    const std::string_view by = line.there && line.there->by_bird ? "bgp" : tunnel_of(line);
    auto state = std::string(to_string(line.state));
    if (!line.reason.empty()) state += ": " + line.reason;
    table.rows.push_back({line.destination.to_string(), via_of(line), interface_of(line), std::string(by),
                          names_of(line.workloads), line.node, std::move(state)});
  }
  return table.to_string();
}

boost::json::array to_json(const std::vector<RouteLine>& lines) {
  boost::json::array all;
  for (const auto& line : lines) {
    boost::json::object object{{"destination", line.destination.to_string()}};
    const auto put = [&](std::string_view name, std::string_view value) {
      if (!value.empty()) object[name] = value;
    };
    put("via", via_of(line));
    put("interface", interface_of(line));
    put("tunnel", tunnel_of(line));
    if (line.there) object["by"] = line.there->by_bird ? "bird" : "ocicat";
    if (!line.workloads.empty()) object["workloads"] = boost::json::value_from(line.workloads);
    put("node", line.node);
    put("state", to_string(line.state));
    put("reason", line.reason);
    all.push_back(std::move(object));
  }
  return all;
}

}  // namespace ocicat::views
