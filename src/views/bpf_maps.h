// What the eBPF datapath's maps say, in the words of docs/design/ebpf.md#maps, as JSON and as text.
#pragma once

#include <boost/json/object.hpp>

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "maps/chains.h"
#include "maps/connections.h"
#include "maps/endpoints.h"
#include "maps/holders.h"
#include "maps/host_endpoints.h"
#include "maps/tables.h"
#include "maps/translations.h"

namespace ocicat::views {

// Which packets a table means by the keys [first, last]: "tcp/80", "tcp/80-90", "tcp", "6/0-17/53"; "all".
std::string keys_text(std::uint32_t first, std::uint32_t last);
// "allow", "deny", "log and allow", "ask the base table", "by source port: table 17", …
std::string answer_text(std::uint32_t answer);

// What stands where a table is named: its place in the cells, or the words of the answer that it has for all keys.
boost::json::value table_named(std::uint32_t table);
// The cells of a table that is so named, from key 0 on; of one that they do not hold, none.
std::vector<bpf::cell> cells_of_table(std::span<const bpf::cell> cells, std::uint32_t table,
                                      bool source_ports = false);
// The rows of a table that is so named: {"table","keys","answer","outcome"}, the first unless it is an answer; of
// one that the cells do not hold, none. With `source_ports` its keys are source ports.
std::vector<boost::json::object> rows_of_table(std::span<const bpf::cell> cells, std::uint32_t table,
                                               bool source_ports = false);

// {"counter","count","what"} of each, by enum bpf::counter.
std::vector<boost::json::object> rows_of_counters(std::span<const std::uint64_t> counters);

// `now`: in ticks (bpf/lib/clock.h).
boost::json::object to_json(const bpf::connection_key& key, const bpf::connection& connection,
                            std::uint32_t now);
// Of a connection whose source is translated: {"address","port"} as they are outside.
boost::json::object to_json(const bpf::outer_end& end);
boost::json::object to_json(const bpf::endpoint& endpoint, std::uint32_t slot, std::size_t side);
// Which chains a host endpoint has, "normal-in": 7 for each that it has, of both families.
boost::json::object to_json(const bpf::host_endpoint& endpoint, std::uint32_t number, std::size_t side);

// One for whom places are taken, by its index of struct holders::owner: {"holder","places","many"}, "slot" of a workload
// and "hostEndpoint" of a host endpoint.
boost::json::object owner_to_json(std::uint32_t owner, std::uint32_t places);

// Columns of objects, by the names of their members, which are the headers.
std::string object_table(const std::vector<boost::json::object>& rows,
                         const std::vector<std::string_view>& columns);

}  // namespace ocicat::views
