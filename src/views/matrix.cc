#include "views/matrix.h"

#include <algorithm>
#include <boost/json.hpp>
#include <map>
#include <set>

#include "engine/engine.h"
#include "views/explain.h"
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

Cell cell_of(const Connectivity& connectivity, const Party& from, const Party& to, const Traffic& traffic,
             Family family) {
  const auto answer = connectivity.ask(from, to, traffic, family);
  return {.from = from.name,
          .to = to.name,
          .traffic = traffic,
          .family = family,
          .egress = answer.egress.verdict,
          .ingress = answer.ingress.verdict,
          .verdict = answer.verdict(),
          .pending = answer.pending()};
}

using Grid = std::map<std::pair<std::string, std::string>, char>;

constexpr char kAllowed = '.';
constexpr char kAllowedButStaged = 'x';  // staged policy would deny
constexpr char kDenied = 'X';
constexpr char kDeniedButStaged = 'o';  // staged policy would allow

char mark_of(const Cell& cell) {
  const bool changes = cell.pending && *cell.pending != cell.verdict;
  if (cell.verdict == Verdict::kAllow) return changes ? kAllowedButStaged : kAllowed;
  return changes ? kDeniedButStaged : kDenied;
}

std::string grid_text(const Grid& grid) {
  std::set<std::string> names;
  for (const auto& [pair, mark] : grid) {
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
      row.emplace_back(1, it == grid.end() ? '-' : it->second);
    }
    table.rows.push_back(std::move(row));
  }
  return table.to_string();
}

}  // namespace

Connectivity::Connectivity(const policy::Snapshot& snapshot)
    : state_(state_of(snapshot)), simulator_(state_.tables), inventory_(snapshot) {
  for (const auto& [key, id] : state_.tables.dictionary) {
    if (key.space == policy::IdSpace::kTable) meanings_.emplace(policy::TableId{id}, key.meaning);
  }
}

Verdict Connectivity::Answer::verdict() const {
  return both(egress.verdict, ingress.verdict);
}
Verdict Connectivity::Answer::pending() const {
  return both(egress.pending, ingress.pending);
}

// Of a workload. One that has no program is denied: id 0 is no program.
policy::ProgramId Connectivity::program_of(const Stop& stop, const IpAddress& own) const {
  const auto endpoint = state_.endpoints.find(stop.endpoint);
  if (endpoint == state_.endpoints.end()) return {};
  const auto& addresses = endpoint->second.addresses;
  const auto it = std::ranges::find(addresses, own, &AddressPrograms::address);
  if (it == addresses.end()) return {};
  return stop.hook.direction == Direction::kIngress ? it->ingress : it->egress;
}

Connectivity::Ground Connectivity::ground(const Stop& stop, const IpAddress& own,
                                          const IpAddress& peer) const {
  const auto& tables = state_.tables;
  const auto id = program_of(stop, own);
  const auto program = tables.programs.find(id);
  if (program == tables.programs.end()) return {};
  Ground ground{.base = meanings_.at(program->second.base), .table = {}};
  const auto projection = tables.projections.find({program->second.vocabulary, simulator_.class_of(peer)});
  if (projection == tables.projections.end()) return ground;
  const auto table = tables.tables_by_projection.find({id, projection->second});
  if (table != tables.tables_by_projection.end()) ground.table = meanings_.at(table->second);
  return ground;
}

std::optional<Connectivity::Grounds> Connectivity::grounds(const Party& from, const Party& to,
                                                           Family family) const {
  const auto source = *from.address(family);
  const auto destination = *to.address(family);
  const auto leaving = stops_of(from, to, Direction::kEgress);
  const auto arriving = stops_of(from, to, Direction::kIngress);
  const auto is_of = [](const std::vector<Stop>& stops, const Party& party) {
    return stops.size() == 1 && !party.is_host && party.endpoint == stops.front().endpoint;
  };
  if (!is_of(leaving, from) || !is_of(arriving, to)) return std::nullopt;
  return Grounds{ground(leaving.front(), source, destination), ground(arriving.front(), destination, source)};
}

const policy::Outcome& Connectivity::lookup(const Stop& stop, const policy::Packet& packet) const {
  const bool ingress = stop.hook.direction == Direction::kIngress;
  const auto& own = ingress ? packet.destination : packet.source;
  const auto& peer = ingress ? packet.source : packet.destination;
  if (const auto host = state_.host_endpoints.find(stop.endpoint); host != state_.host_endpoints.end()) {
    return simulator_.lookup(host->second.chain(packet.family(), stop.hook), own, peer, packet);
  }
  return simulator_.lookup(program_of(stop, own), peer, packet);
}

namespace {

bool is_dropped_by_own_host(const Party& from, const Party& to, Direction direction) {
  return direction == Direction::kIngress && to.is_host && !from.is_host && from.node == to.node &&
         to.from_own_workloads == HostSettings::ToHost::kDrop;
}

}  // namespace

Connectivity::End Connectivity::end(const Party& from, const Party& to, Direction direction,
                                    const policy::Packet& packet) const {
  End end;
  if (is_dropped_by_own_host(from, to, direction)) end.verdict = end.pending = Verdict::kDeny;
  const auto stops = stops_of(from, to, direction);
  const auto enforced = verdict_of(stops, [&](const Stop& stop) { return lookup(stop, packet).verdict; });
  const auto pending =
      verdict_of(stops, [&](const Stop& stop) { return lookup(stop, packet).with_staged().verdict; });
  end.verdict = both(end.verdict, enforced);
  end.pending = both(end.pending, pending);
  return end;
}

Connectivity::Answer Connectivity::ask(const Party& from, const Party& to, const Traffic& traffic,
                                       Family family) const {
  const auto packet = traffic.packet(*from.address(family), *to.address(family), kAnySourcePort);
  return {end(from, to, Direction::kEgress, packet), end(from, to, Direction::kIngress, packet)};
}

std::string Connectivity::reason(const Party& from, const Party& to, const Traffic& traffic, Family family,
                                 Direction direction, bool with_staged) const {
  if (is_dropped_by_own_host(from, to, direction))
    return fmt::format("{}: defaultEndpointToHostAction is Drop", policy::to_string(direction));
  const auto packet = traffic.packet(*from.address(family), *to.address(family), kAnySourcePort);
  std::optional<Stop> deciding;
  policy::Judgement judgement;
  verdict_of(stops_of(from, to, direction), [&](const Stop& stop) {
    const auto& outcome = lookup(stop, packet);
    const policy::Judgement& here = with_staged ? outcome.with_staged() : outcome;
    const bool denied = deciding && judgement.verdict == Verdict::kDeny;
    // A chain without policy has nothing to say.
    if (!denied && (here.verdict == Verdict::kDeny || !here.trace.empty())) {
      deciding = stop;
      judgement = here;
    }
    return here.verdict;
  });
  if (!deciding) return fmt::format("{}: no policy here", policy::to_string(direction));
  if (judgement.trace.empty())
    return fmt::format("{}: no address that policy knows", policy::to_string(direction));
  const auto words = in_words(judgement.trace.back(), direction);
  if (deciding->endpoint.kind != Kind::kHostEndpoint)
    return fmt::format("{}: {}", policy::to_string(direction), words);
  return fmt::format("{} at {}, {} chain: {}", policy::to_string(direction), deciding->endpoint.to_string(),
                     policy::to_string(deciding->hook.chain), words);
}

std::vector<Cell> matrix(const policy::Snapshot& snapshot, std::span<const Traffic> traffics,
                         std::optional<Family> wanted) {
  const Connectivity connectivity(snapshot);
  std::vector<Cell> cells;
  const auto parties = connectivity.inventory().parties();
  for (const Party& from : parties) {
    for (const Party& to : parties) {
      if (from.endpoint == to.endpoint) continue;
      for (const Traffic& traffic : traffics) {
        for (const Family family : kFamilies) {
          if (wanted.value_or(family) != family || traffic.family.value_or(family) != family) continue;
          if (!from.address(family) || !to.address(family)) continue;
          cells.push_back(cell_of(connectivity, from, to, traffic, family));
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
    object["pending"] = json_of(cell.pending);
    array.push_back(std::move(object));
  }
  return array;
}

std::string to_text(std::span<const Cell> cells) {
  std::vector<Traffic> order;
  std::map<std::pair<std::size_t, Family>, Grid> grids;
  bool staged_matters = false;
  for (const Cell& cell : cells) {
    auto it = std::ranges::find(order, cell.traffic);
    if (it == order.end()) it = order.insert(order.end(), cell.traffic);
    const auto index = static_cast<std::size_t>(it - order.begin());
    const char mark = mark_of(cell);
    staged_matters |= mark == kAllowedButStaged || mark == kDeniedButStaged;
    grids[{index, cell.family}][{cell.from, cell.to}] = mark;
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
  out += "(.) allowed   (X) denied   (-) not asked\n";
  if (staged_matters) out += "With staged policy enforced: (x) would be denied   (o) would be allowed\n";
  return out;
}

}  // namespace ocicat::views
