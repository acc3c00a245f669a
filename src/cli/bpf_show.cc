#include "cli/bpf_show.h"

#include <algorithm>
#include <atomic>
#include <boost/json.hpp>
#include <cstring>
#include <map>
#include <memory>
#include <set>

#include "cli/output.h"
#include "cli/run.h"
#include "dataplane/ebpf/address_image.h"
#include "dataplane/ebpf/connection_table.h"
#include "maps/holders.h"
#include "maps/host.h"
#include "maps/timeouts.h"
#include "maps/translations.h"
#include "views/bpf_maps.h"

namespace ocicat::cli {
namespace {

namespace json = boost::json;
using dataplane::ebpf::PinnedMaps;
using Rows = std::vector<json::object>;

// What has been found, as far as it is wanted: never more in memory than is going to be shown.
class Found {
 public:
  explicit Found(std::size_t most) : most_(most) {}

  void add(json::object row) { rows_.size() < most_ ? rows_.push_back(std::move(row)) : void(++left_out_); }
  // For what is worth no making any more.
  bool full() const { return rows_.size() >= most_; }
  void leave_out() { ++left_out_; }

  int show(const BpfOptions& options, const std::string& name, const std::vector<std::string_view>& columns) {
    if (left_out_ != 0)
      print_warning(fmt::format("{} more are not shown: ask for --most {} or narrow it down", left_out_,
                                rows_.size() + left_out_));
    if (!options.output.empty()) {
      json::array all;
      for (auto& row : rows_) all.emplace_back(std::move(row));
      say("{}", document_text(json::object{{name, std::move(all)}, {"leftOut", left_out_}},
                              *parse_format(options.output)));
    } else if (rows_.empty()) {
      say("There are none.\n");
    } else {
      say("{}", views::object_table(rows_, columns));
    }
    return kDone;
  }

 private:
  std::size_t most_;
  Rows rows_;
  std::size_t left_out_ = 0;
};

Result<std::optional<IpAddress>> wanted_address(const BpfOptions& options) {
  if (options.address.empty()) return std::nullopt;
  const auto address = IpAddress::parse(options.address);
  if (!address) return fail(ErrorCode::kInvalid, "\"{}\" is no address", options.address);
  return address;
}

Result<std::size_t> side_of(const PinnedMaps& maps) {
  TRY(const auto host, maps.array("host"));
  return host.as<const bpf::host>().front().batch & 1;
}

template <class T>
T read_as(kernel::bpf::Bytes bytes) {
  T value{};
  std::memcpy(&value, bytes.data(), std::min(sizeof value, bytes.size()));
  return value;
}

// Of the endpoint that was asked for, the programs in both directions; else those that were named, or all.
Result<std::set<std::uint32_t>> wanted_programs(const PinnedMaps& maps, const BpfOptions& options,
                                                std::size_t side) {
  std::set<std::uint32_t> programs;
  if (options.program != 0) programs.insert(options.program);
  if (options.slot == 0) return programs;
  TRY(const auto array, maps.array("endpoints"));
  const auto endpoints = array.as<const bpf::endpoint>();
  if (options.slot >= endpoints.size() || endpoints[options.slot].interface == 0)
    return fail(ErrorCode::kNotFound, "no endpoint has slot {}: `ocicat bpf endpoints` shows them",
                options.slot);
  programs.insert(endpoints[options.slot].programs[side].ingress);
  programs.insert(endpoints[options.slot].programs[side].egress);
  return programs;
}

bool is_wanted(const std::set<std::uint32_t>& wanted, std::uint32_t id) {
  return wanted.empty() || wanted.contains(id);
}

// Each table once, under the first program that leads to it, and tables of source ports behind their own.
class TableLister {
 public:
  TableLister(std::span<const bpf::cell> cells, Found& found) : cells_(cells), found_(found) {}

  void list(std::uint32_t table, std::uint32_t program, const json::value& projection,
            bool source_ports = false) {
    const bool is_answer = (table & ANSWER_KIND) != 0;
    if (!is_answer && !listed_.insert(table).second) return;
    for (auto& row : views::rows_of_table(cells_, table, source_ports)) {
      row["program"] = program;
      row["projection"] = projection;
      found_.add(std::move(row));
    }
    for (const auto& cell : views::cells_of_table(cells_, table, source_ports)) {
      if ((cell.answer & ANSWER_KIND) == ANSWER_SOURCE_PORTS && !source_ports)
        list(cell.answer & ANSWER_VALUE, program, projection, true);
    }
  }

 private:
  std::span<const bpf::cell> cells_;
  Found& found_;
  std::set<std::uint32_t> listed_;
};

// A copy of what somebody may be writing; nothing: it is being written, or has never been.
std::optional<bpf::tracked> whole_copy(const bpf::tracked& there) {
  const auto version = [&] { return std::atomic_ref(const_cast<std::uint32_t&>(there.version)).load(); };
  const auto before = version();
  if (before == 0 || (before & 1) != 0) return std::nullopt;
  const bpf::tracked copy = there;
  return version() == before ? std::optional(copy) : std::nullopt;
}

// Who workloads' connections are outside: by the connection's place and version.
using OuterEnds = std::map<std::pair<std::uint32_t, std::uint32_t>, bpf::outer_end>;
Result<OuterEnds> outer_ends(const PinnedMaps& maps) {
  TRY(const auto translations, maps.elements("translations"));
  OuterEnds ends;
  TRY_VOID(translations->for_each([&](auto, auto value) {
    const auto there = read_as<bpf::translation>(value);
    if (there.version != 0 && (there.version & 1) == 0) ends[{there.place, there.connection}] = there.end;
  }));
  return ends;
}

bool concerns(const bpf::connection_key& key, const std::optional<IpAddress>& wanted) {
  return !wanted || dataplane::ebpf::address_of(key.address[0]) == *wanted ||
         dataplane::ebpf::address_of(key.address[1]) == *wanted;
}

// How many places are taken for each address that began connections, of a workload here with its slot. At most as many as
// there are places.
using Beginner = std::pair<IpAddress, std::uint32_t>;
std::map<Beginner, std::uint32_t> places_by_beginner(std::span<const bpf::tracked> all) {
  std::map<Beginner, std::uint32_t> places;
  for (const auto& one : all) {
    const auto copy = whole_copy(one);
    if (!copy) continue;
    const auto& address = copy->key.address[bpf::beginner(&copy->connection)];
    ++places[{dataplane::ebpf::address_of(address), bpf::begun_by(&copy->key, &copy->connection)}];
  }
  return places;
}

// The workloads and host endpoints that have any, or those workloads' that are wanted.
Rows owners_in(const bpf::holders& holders, std::span<const bpf::endpoint> endpoints,
               const BpfOptions& options, const std::optional<IpAddress>& wanted) {
  Rows rows;
  for (std::uint32_t owner = 0; owner < bpf::OWNERS_MAX; ++owner) {
    const auto places = __atomic_load_n(&holders.owner[owner], __ATOMIC_RELAXED);
    if (places <= 0) continue;
    auto row = views::owner_to_json(owner, static_cast<std::uint32_t>(places));
    const auto* slot = row.if_contains("slot");
    if (slot != nullptr && slot->to_number<std::size_t>() < endpoints.size()) {
      const bpf::endpoint endpoint = endpoints[slot->to_number<std::size_t>()];
      row["address"] =
          endpoint.interface == 0 ? json::value("has gone") : views::to_json(endpoint, 0, 0).at("address");
    }
    if (options.slot != 0 && (slot == nullptr || slot->to_number<std::uint32_t>() != options.slot)) continue;
    if (wanted && (slot == nullptr || row["address"] != json::value(wanted->to_string()))) continue;
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace

Result<int> show_counters(const PinnedMaps& maps, const BpfOptions& options) {
  TRY(const auto counters, maps.counters());
  Found found(counters.size());
  for (auto& row : views::rows_of_counters(counters)) found.add(std::move(row));
  return found.show(options, "counters", {"counter", "count", "what"});
}

// With an address: what counts for it, the longest net around it.
Result<int> show_classes(const PinnedMaps& maps, const BpfOptions& options) {
  TRY(const auto side, side_of(maps));
  TRY(const auto wanted, wanted_address(options));
  TRY(const auto tree, maps.array("nets"));
  Found found(options.most);
  std::optional<std::pair<Prefix, std::uint32_t>> best;
  for (const auto& [prefix, class_id] : dataplane::ebpf::nets_in(tree.as<const bpf::nets>().front(), side)) {
    const auto id = static_cast<std::uint32_t>(class_id);
    if (wanted) {
      if (prefix.contains(*wanted) && (!best || prefix.length >= best->first.length)) best = {prefix, id};
    } else if (found.full()) {
      found.leave_out();
    } else {
      found.add({{"addresses", prefix.to_string()}, {"class", id}});
    }
  }
  if (wanted) {
    found.add(
        {{"addresses", best ? best->first.to_string() : "all others"}, {"class", best ? best->second : 0}});
  }
  return found.show(options, "classes", {"addresses", "class"});
}

Result<int> show_floating(const PinnedMaps& maps, const BpfOptions& options) {
  TRY(const auto wanted, wanted_address(options));
  TRY(const auto elements, maps.elements("floating"));
  std::map<IpAddress, IpAddress> addresses;
  TRY_VOID(elements->for_each([&](auto key, auto value) {
    const auto floating = dataplane::ebpf::address_of(read_as<bpf::address>(key));
    const auto own = dataplane::ebpf::address_of(read_as<bpf::address>(value));
    if (!wanted || *wanted == floating || *wanted == own) addresses.emplace(floating, own);
  }));
  Found found(options.most);
  for (const auto& [floating, own] : addresses)
    found.add({{"address", floating.to_string()}, {"own", own.to_string()}});
  return found.show(options, "floating", {"address", "own"});
}

Result<int> show_holders(const PinnedMaps& maps, const BpfOptions& options) {
  TRY(const auto wanted, wanted_address(options));
  TRY(const auto holders, maps.array("holders"));
  TRY(const auto endpoints, maps.array("endpoints"));
  TRY(const auto connections, maps.array("connections"));
  auto rows = owners_in(holders.as<const bpf::holders>().front(), endpoints.as<const bpf::endpoint>(),
                        options, wanted);
  for (const auto& [beginner, places] : places_by_beginner(connections.as<const bpf::tracked>())) {
    const auto& [address, slot] = beginner;
    if ((wanted && *wanted != address) || (options.slot != 0 && options.slot != slot)) continue;
    json::object row{{"holder", "address"}, {"address", address.to_string()}};
    if (slot != 0) row["slot"] = slot;
    row["places"] = places;
    row["many"] = places > bpf::HOLDS_MANY;
    rows.push_back(std::move(row));
  }
  std::ranges::stable_sort(rows, std::ranges::greater(), [](const auto& row) {
    return row.at("places").template to_number<std::uint32_t>();
  });
  Found found(options.most);
  for (auto& row : rows) found.add(std::move(row));
  return found.show(options, "holders", {"holder", "slot", "hostEndpoint", "address", "places", "many"});
}

Result<int> show_endpoints(const PinnedMaps& maps, const BpfOptions& options) {
  TRY(const auto side, side_of(maps));
  TRY(const auto wanted, wanted_address(options));
  TRY(const auto array, maps.array("endpoints"));
  Found found(options.most);
  const auto endpoints = array.as<const bpf::endpoint>();
  for (std::uint32_t slot = 1; slot < endpoints.size(); ++slot) {
    const bpf::endpoint endpoint = endpoints[slot];
    if (endpoint.interface == 0 || (options.slot != 0 && slot != options.slot)) continue;
    if (wanted && !(dataplane::ebpf::address_of(endpoint.address) == *wanted)) continue;
    found.add(views::to_json(endpoint, slot, side));
  }
  return found.show(options, "endpoints",
                    {"slot", "interface", "address", "ingress", "egress", "chain", "redirects", "batch"});
}

Result<int> show_host_endpoints(const PinnedMaps& maps, const BpfOptions& options) {
  TRY(const auto side, side_of(maps));
  TRY(const auto array, maps.array("host_endpoints"));
  TRY(const auto names, maps.elements("host_interfaces"));
  TRY(const auto numbered, maps.array("interface_endpoints"));
  const auto has = numbered.as<const bpf::interface_endpoint>();
  std::map<std::uint32_t, std::vector<std::string>> interfaces;
  TRY_VOID(names->for_each([&](auto key, auto value) {
    const auto name = read_as<bpf::interface_name>(key);
    const auto* letters = reinterpret_cast<const char*>(name.letters);
    const std::string text(letters, ::strnlen(letters, sizeof name.letters));
    const auto of_name = read_as<std::uint32_t>(value);
    const auto number = of_name < has.size() ? has[of_name].endpoint[side] & ~INTERFACE_OF_WORKLOAD : 0;
    if (number != 0) interfaces[number].push_back(text.empty() ? "all others" : text);
  }));
  Found found(options.most);
  const auto endpoints = array.as<const bpf::host_endpoint>();
  for (const auto& [number, at] : interfaces) {
    if (number >= endpoints.size() || (options.slot != 0 && number != options.slot)) continue;
    auto row = views::to_json(endpoints[number], number, side);
    row["interfaces"] = fmt::format("{}", fmt::join(at, ", "));
    found.add(std::move(row));
  }
  return found.show(options, "hostEndpoints", {"hostEndpoint", "interfaces", "chains", "batch"});
}

Result<int> show_programs(const PinnedMaps& maps, const BpfOptions& options) {
  TRY(const auto side, side_of(maps));
  TRY(const auto wanted, wanted_programs(maps, options, side));
  TRY(const auto array, maps.array("programs"));
  TRY(const auto chains, maps.array("chains"));
  Found found(options.most);
  const auto programs = array.as<const bpf::program>();
  for (std::uint32_t id = 1; id < programs.size(); ++id) {
    const bpf::program_version program = programs[id].version[side];
    if (program.base == 0 || !is_wanted(wanted, id)) continue;
    found.add({{"program", id},
               {"baseTable", views::table_named(program.base)},
               {"vocabulary", program.vocabulary},
               {"projections", program.tables.size}});
  }
  if (!wanted.empty())
    return found.show(options, "programs", {"program", "baseTable", "vocabulary", "projections"});
  const auto all = chains.as<const bpf::chain>();
  for (std::uint32_t id = 1; id < all.size(); ++id) {
    const bpf::chain_version chain = all[id].version[side];
    if (chain.base == 0) continue;
    found.add({{"chain", id},
               {"program", chain.base},
               {"vocabulary", chain.vocabulary},
               {"projections", chain.programs.size}});
  }
  return found.show(options, "programs", {"chain", "program", "baseTable", "vocabulary", "projections"});
}

Result<int> show_tables(const PinnedMaps& maps, const BpfOptions& options) {
  TRY(const auto side, side_of(maps));
  TRY(const auto wanted, wanted_programs(maps, options, side));
  TRY(const auto program_array, maps.array("programs"));
  TRY(const auto entry_array, maps.array("entries"));
  TRY(const auto cell_array, maps.array("cells"));
  const auto programs = program_array.as<const bpf::program>();
  const auto entries = entry_array.as<const bpf::entry>();
  Found found(options.most);
  TableLister lister(cell_array.as<const bpf::cell>(), found);
  for (std::uint32_t id = 1; id < programs.size(); ++id) {
    const bpf::program_version program = programs[id].version[side];
    if (program.base == 0 || !is_wanted(wanted, id)) continue;
    lister.list(program.base, id, "base");
    for (std::uint32_t i = 0; i < program.tables.size && program.tables.first + i < entries.size(); ++i)
      lister.list(entries[program.tables.first + i].value[side], id, i);
  }
  return found.show(options, "tables", {"program", "projection", "table", "keys", "answer", "outcome"});
}

Result<int> show_connections(const PinnedMaps& maps, const BpfOptions& options) {
  TRY(const auto wanted, wanted_address(options));
  TRY(const auto array, maps.array("connections"));
  TRY(const auto timeout_array, maps.array("timeouts"));
  const auto& timeouts = timeout_array.as<const bpf::timeouts>().front();
  const auto now = dataplane::ebpf::ticks_now();
  TRY(const auto outside, outer_ends(maps));
  Found found(options.most);
  std::vector<std::string_view> columns{"traffic", "source", "destination", "state",
                                        "idle",    "sent",   "answered",    "at"};
  const auto all = array.as<const bpf::tracked>();
  for (std::uint32_t place = 0; place < all.size(); ++place) {
    const auto copy = whole_copy(all[place]);
    if (!copy) continue;
    const auto& key = copy->key;
    const auto& connection = copy->connection;
    if (!concerns(key, wanted) || bpf::is_over(&connection, key.protocol, now, &timeouts)) continue;
    const bool is_its = key.at_host == 0 &&
                        (connection.endpoint[0] == options.slot || connection.endpoint[1] == options.slot);
    if (options.slot != 0 && !is_its) continue;
    if (found.full()) {
      found.leave_out();
      continue;
    }
    auto row = views::to_json(key, connection, now);
    if (const auto end = outside.find({place, copy->version}); end != outside.end()) {
      row["sourceOutside"] = views::to_json(end->second);
      if (columns.back() == "at") columns.emplace_back("sourceOutside");
    }
    found.add(std::move(row));
  }
  return found.show(options, "connections", columns);
}

}  // namespace ocicat::cli
