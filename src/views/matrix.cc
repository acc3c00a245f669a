#include "views/matrix.h"

#include <algorithm>
#include <boost/json.hpp>
#include <map>
#include <set>

#include "engine/engine.h"
#include "policy/simulator.h"
#include "views/explain.h"
#include "views/inventory.h"
#include "views/text_table.h"

namespace ocicat::views {
namespace {

using policy::Direction;
using policy::Verdict;

HostState state_of(const policy::Snapshot& snapshot) {
  ResourceChanges everything;
  for (const auto& [key, resource] : snapshot) everything.update(key, resource);
  Engine engine(Engine::Options{});
  HostState state;
  engine.update(everything).apply_to(state);
  return state;
}

// The program for one of an endpoint's own addresses; id 0, which is no program, where there is none.
policy::ProgramId program_of(const HostState& state, const Party& party, const IpAddress& own,
                             Direction direction) {
  const auto endpoint = state.endpoints.find(*party.endpoint);
  if (endpoint == state.endpoints.end()) return {};
  const auto& addresses = endpoint->second.addresses;
  const auto it = std::ranges::find(addresses, own, &AddressPrograms::address);
  if (it == addresses.end()) return {};
  return direction == Direction::kIngress ? it->ingress : it->egress;
}

Cell answer(const HostState& state, const policy::Simulator& simulator, const Party& from, const Party& to,
            const Traffic& traffic, Family family) {
  const IpAddress source = *from.address(family);
  const IpAddress destination = *to.address(family);
  const policy::Packet packet = traffic.packet(source, destination, kAnySourcePort);
  Cell cell{from.name, to.name, traffic, family, {}, {}, Verdict::kDeny};
  cell.egress =
      simulator.lookup(program_of(state, from, source, Direction::kEgress), destination, packet).verdict;
  cell.ingress =
      simulator.lookup(program_of(state, to, destination, Direction::kIngress), source, packet).verdict;
  const bool allowed = *cell.egress == Verdict::kAllow && *cell.ingress == Verdict::kAllow;
  cell.verdict = allowed ? Verdict::kAllow : Verdict::kDeny;
  return cell;
}

using Grid = std::map<std::pair<std::string, std::string>, Verdict>;

std::string grid_text(const Grid& grid) {
  std::set<std::string> names;
  for (const auto& [pair, verdict] : grid) {
    names.insert(pair.first);
    names.insert(pair.second);
  }
  TextTable table;
  table.headers = {"", "FROM \\ TO"};
  for (std::size_t i = 1; i <= names.size(); ++i) table.headers.push_back(fmt::format("{}", i));
  for (const std::string& from : names) {
    std::vector<std::string> row{fmt::format("{}", table.rows.size() + 1), from};
    for (const std::string& to : names) {
      const auto it = grid.find({from, to});
      row.push_back(it == grid.end() ? "-" : it->second == Verdict::kAllow ? "." : "X");
    }
    table.rows.push_back(std::move(row));
  }
  return table.to_string();
}

}  // namespace

std::vector<Cell> matrix(const policy::Snapshot& snapshot, std::span<const Traffic> traffics,
                         std::optional<Family> wanted) {
  const HostState state = state_of(snapshot);
  const policy::Simulator simulator(state.tables);
  const Inventory inventory(snapshot);

  std::vector<Cell> cells;
  for (const Party& from : inventory.endpoints()) {
    for (const Party& to : inventory.endpoints()) {
      if (from.endpoint == to.endpoint) continue;
      for (const Traffic& traffic : traffics) {
        for (const Family family : kFamilies) {
          if (wanted.value_or(family) != family || traffic.family.value_or(family) != family) continue;
          if (!from.address(family) || !to.address(family)) continue;
          cells.push_back(answer(state, simulator, from, to, traffic, family));
        }
      }
    }
  }
  return cells;
}

namespace {

// null: a packet that did not arrive cannot tell which side dropped it.
boost::json::value json_of(const std::optional<Verdict>& verdict) {
  if (!verdict) return nullptr;
  return boost::json::value(policy::to_string(*verdict));
}

}  // namespace

boost::json::array to_json(std::span<const Cell> cells) {
  boost::json::array array;
  array.reserve(cells.size());
  for (const Cell& cell : cells) {
    boost::json::object object;
    object["from"] = cell.from;
    object["to"] = cell.to;
    add_traffic(object, cell.traffic, cell.family);
    object["egress"] = json_of(cell.egress);
    object["ingress"] = json_of(cell.ingress);
    object["verdict"] = policy::to_string(cell.verdict);
    array.push_back(std::move(object));
  }
  return array;
}

std::string to_text(std::span<const Cell> cells) {
  std::vector<Traffic> order;
  std::map<std::pair<std::size_t, Family>, Grid> grids;
  for (const Cell& cell : cells) {
    auto it = std::ranges::find(order, cell.traffic);
    if (it == order.end()) it = order.insert(order.end(), cell.traffic);
    const auto index = static_cast<std::size_t>(it - order.begin());
    grids[{index, cell.family}][{cell.from, cell.to}] = cell.verdict;
  }
  std::string out;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const auto v4 = grids.find({i, Family::kIpv4});
    const auto v6 = grids.find({i, Family::kIpv6});
    const bool same = v4 != grids.end() && v6 != grids.end() && v4->second == v6->second;
    if (v4 != grids.end()) {
      out += fmt::format("{} over {}\n{}\n", order[i].to_string(), same ? "IPv4 and IPv6" : "IPv4",
                         grid_text(v4->second));
    }
    if (v6 != grids.end() && !same) {
      out += fmt::format("{} over IPv6\n{}\n", order[i].to_string(), grid_text(v6->second));
    }
  }
  if (out.empty()) return "There are no two workload endpoints that could talk to each other.\n";
  return out + "(.) allowed   (X) denied   (-) not asked\n";
}

}  // namespace ocicat::views
