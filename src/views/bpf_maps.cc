#include "views/bpf_maps.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>

#include "dataplane/ebpf/address_image.h"
#include "flows/event.h"
#include "maps/counters.h"
#include "maps/timeouts.h"
#include "policy/table.h"
#include "views/text_table.h"
#include "views/traffic.h"

namespace ocicat::views {
namespace {

namespace json = boost::json;
using dataplane::ebpf::address_of;

constexpr std::uint32_t kLastDetail = 0xffff;

std::string protocol_text(std::uint32_t protocol) {
  Traffic traffic;
  traffic.protocol = static_cast<Protocol>(protocol);
  return traffic.protocol_text();
}

std::string range_text(std::uint32_t first, std::uint32_t last) {
  return first == last ? fmt::format("{}", first) : fmt::format("{}-{}", first, last);
}

std::uint16_t host_order(std::uint16_t number) {
  return __builtin_bswap16(number);
}

// A word for a counter, and what it counts.
std::pair<std::string, std::string_view> counter_words(bpf::counter counter) {
  switch (counter) {
    case bpf::COUNT_FORWARDED:
      return {"forwarded", "packets of known connections, or let through by a judgement"};
    case bpf::COUNT_JUDGED:
      return {"judged", "judgements of new connections"};
    case bpf::COUNT_REJUDGED:
      return {"rejudged", "judgements of known connections, after a change"};
    case bpf::COUNT_REDIRECTED:
      return {"redirected", "packets, of those forwarded, past the rest of the stack"};
    case bpf::COUNT_RETRIED:
      return {"retried", "judgements begun anew, as policy changed meanwhile"};
    case bpf::COUNT_EVENTS_FULL:
      return {"events lost: full", "nobody read them, or not fast enough"};
    case bpf::COUNT_EVENTS_SHARE:
      return {"events lost: share", "of an interface that had its share"};
    case bpf::COUNT_ANSWERED:
      return {"answered", "packets, of those dropped, that a reset or an error answered"};
    case bpf::COUNT_LOGGED:
      return {"logged", "packets that Log rules want told, and that begin no connection"};
    case bpf::COUNT_ENCAPSULATED:
      return {"encapsulated", "packets, of those redirected, into a tunnel to another host"};
    case bpf::COUNT_TRANSLATED:
      return {"translated", "packets, of those redirected, by natOutgoing"};
    case bpf::COUNT_UNTOLD:
      return {"untold", "packets of connections that gave way, which no flow tells of"};
    default: {
      const auto reason = flows::reason_of(counter);
      return {fmt::format("dropped: {}", to_string(reason)), in_words(reason)};
    }
  }
}

std::string_view state_of(const bpf::connection& connection, std::uint8_t protocol) {
  const auto both = connection.tcp[0] & connection.tcp[1];
  if ((connection.flags & bpf::CONNECTION_DENIED) != 0) return "denied";
  if (protocol != kTcp && protocol != kSctp)
    return (both & bpf::SEEN_ANYTHING) != 0 ? "answered" : "unanswered";
  if (bpf::is_closed(&connection)) return "closed";
  return (both & bpf::TCP_SEEN_ACK) != 0 ? "established" : "opening";
}

// Of one end: its address and port, and who is there.
json::object end_json(const bpf::connection_key& key, const bpf::connection& connection, int end) {
  json::object object{{"address", address_of(key.address[end]).to_string()}};
  if (key.protocol != kIcmp && key.protocol != kIcmpV6) object["port"] = host_order(key.port[end]);
  const std::uint16_t endpoint = connection.endpoint[end];
  if (endpoint == 0) return object;
  if (key.at_host != 0) {
    object["hostEndpoint"] = endpoint;
  } else if ((endpoint & END_OUTSIDE) != 0) {
    object["way"] = endpoint & ~END_OUTSIDE;  // the interface by which its packets come
  } else {
    object["endpoint"] = endpoint;
  }
  return object;
}

std::string cell_text(const json::value& value) {
  if (value.is_string()) return std::string(value.get_string());
  if (!value.is_object()) return json::serialize(value);
  const auto& object = value.get_object();
  std::string text;
  for (const auto& [name, member] : object) {
    if (name == "address") {
      text = cell_text(member);
    } else if (name == "port") {
      text = text.find(':') == std::string::npos ? text + ":" + cell_text(member)
                                                 : "[" + text + "]:" + cell_text(member);
    } else {
      text += fmt::format("{}{} {}", text.empty() ? "" : " ", std::string_view(name), cell_text(member));
    }
  }
  return text;
}

}  // namespace

std::string keys_text(std::uint32_t first, std::uint32_t last) {
  const auto protocol = first >> 16, detail = first & kLastDetail, last_protocol = last >> 16,
             last_detail = last & kLastDetail;
  const bool whole = detail == 0 && last_detail == kLastDetail;
  if (whole && protocol == 0 && last == policy::kLastTableKey) return "all";
  if (whole && protocol == last_protocol) return protocol_text(protocol);
  if (whole) return fmt::format("protocols {}-{}", protocol, last_protocol);
  if (protocol == last_protocol)
    return fmt::format("{}/{}", protocol_text(protocol), range_text(detail, last_detail));
  return fmt::format("{}/{}-{}/{}", protocol_text(protocol), detail, protocol_text(last_protocol),
                     last_detail);
}

std::string answer_text(std::uint32_t answer) {
  switch (answer & ANSWER_KIND) {
    case ANSWER_BASE:
      return "ask the base table";
    case ANSWER_ALLOW:
      return "allow";
    case ANSWER_DENY:
      return "deny";
    case ANSWER_LOG_ALLOW:
      return "log and allow";
    case ANSWER_LOG_DENY:
      return "log and deny";
    case ANSWER_SOURCE_PORTS:
      return fmt::format("by source port: table {}", answer & TABLE_PLACE);
    case ANSWER_NONE:
      return "no answer";
    case ANSWER_LOG_NONE:
      return "log, no answer";
    default:
      return "unknown, which denies";
  }
}

json::value table_named(std::uint32_t table) {
  return (table & ANSWER_KIND) != 0 ? json::value(answer_text(table)) : json::value(table & TABLE_PLACE);
}

std::vector<bpf::cell> cells_of_table(std::span<const bpf::cell> cells, std::uint32_t table,
                                      bool source_ports) {
  const auto first = table & TABLE_PLACE;
  if ((table & ANSWER_KIND) != 0 || first == 0 || first >= cells.size()) return {};
  if ((table & TABLE_ONE_KEY) != 0) {
    const auto only = cells[first];
    std::vector<bpf::cell> spread;
    if (only.first > 0) spread.push_back({0, ANSWER_BASE});
    spread.push_back(only);
    if (only.first < (source_ports ? kLastDetail : policy::kLastTableKey))
      spread.push_back({only.first + 1, ANSWER_BASE});
    return spread;
  }
  const std::size_t count = cells[first].first;
  if (count > cells.size() - first - 1) return {};
  const auto own = cells.subspan(first + 1, count);
  return {own.begin(), own.end()};
}

std::vector<json::object> rows_of_table(std::span<const bpf::cell> cells, std::uint32_t table,
                                        bool source_ports) {
  std::vector<json::object> rows;
  if ((table & ANSWER_KIND) != 0) {
    rows.push_back({{"keys", keys_text(0, policy::kLastTableKey)},
                    {"answer", answer_text(table)},
                    {"outcome", table & ANSWER_VALUE}});
    return rows;
  }
  const auto own = cells_of_table(cells, table, source_ports);
  for (std::size_t i = 0; i < own.size(); ++i) {
    const auto end = source_ports ? kLastDetail : policy::kLastTableKey;
    const auto last = i + 1 < own.size() ? own[i + 1].first - 1 : end;
    json::object row{{"table", table & TABLE_PLACE},
                     {"keys", source_ports ? "from port " + range_text(own[i].first, last)
                                           : keys_text(own[i].first, last)},
                     {"answer", answer_text(own[i].answer)}};
    const auto kind = own[i].answer & ANSWER_KIND;
    if (kind != ANSWER_BASE && kind != ANSWER_SOURCE_PORTS) row["outcome"] = own[i].answer & ANSWER_VALUE;
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<json::object> rows_of_counters(std::span<const std::uint64_t> counters) {
  std::vector<json::object> rows;
  for (std::size_t i = 0; i < counters.size(); ++i) {
    auto [word, about] = counter_words(static_cast<bpf::counter>(i));
    rows.push_back({{"counter", word}, {"count", counters[i]}, {"what", about}});
  }
  return rows;
}

json::object to_json(const bpf::connection_key& key, const bpf::connection& connection, std::uint32_t now) {
  const bool at_host = key.at_host != 0;
  const int begun_by = (connection.flags & bpf::CONNECTION_BEGUN_BY_SECOND) != 0 ? 1 : 0;
  const auto asked = host_order(key.port[1 - begun_by]);
  Traffic traffic;
  traffic.protocol = key.protocol;
  if (traffic.is_icmp()) {
    traffic.family = key.protocol == kIcmp ? Family::kIpv4 : Family::kIpv6;
    traffic.icmp_type = static_cast<std::uint8_t>(asked >> 8);
    traffic.icmp_code = static_cast<std::uint8_t>(asked);
  } else if (traffic.has_port()) {
    traffic.port = asked;
  }
  const auto idle = static_cast<std::int32_t>(now - connection.seen);
  json::object object{{"traffic", traffic.to_string()},
                      {"source", end_json(key, connection, begun_by)},
                      {"destination", end_json(key, connection, 1 - begun_by)},
                      {"state", state_of(connection, key.protocol)},
                      {"idle", fmt::format("{:.1f} s", std::max(0.0, idle * 1.048576e-3))},
                      {"sent", connection.packets[begun_by]},
                      {"sentBytes", connection.bytes[begun_by]},
                      {"answered", connection.packets[1 - begun_by]},
                      {"answeredBytes", connection.bytes[1 - begun_by]},
                      {"batch", connection.judged},
                      {"at", at_host ? "host endpoint" : "workload"}};
  if (!at_host && (connection.flags & bpf::CONNECTION_FROM_HOST) != 0)
    object["at"] = "workload, from the host";
  if (!at_host && (connection.flags & bpf::CONNECTION_TO_HOST) != 0) object["at"] = "workload, to the host";
  if (!at_host && (connection.flags & bpf::CONNECTION_FLOATING) != 0)
    object["at"] = "workload, by a floating address";
  return object;
}

json::object to_json(const bpf::outer_end& end) {
  return {{"address", address_of(end.address).to_string()}, {"port", host_order(end.port)}};
}

json::object to_json(const bpf::endpoint& endpoint, std::uint32_t slot, std::size_t side) {
  const auto address = address_of(endpoint.address);
  const auto& programs = endpoint.programs[side];
  const bool any = address == *IpAddress::parse("0.0.0.0") || address == *IpAddress::parse("::");
  json::object object{
      {"slot", slot},
      {"interface", endpoint.interface},
      {"address", any ? fmt::format("any of IPv{}", address.is_v4() ? 4 : 6) : address.to_string()},
      {"ingress", programs.ingress},
      {"egress", programs.egress},
      {"redirects", (endpoint.flags & bpf::ENDPOINT_OPEN) != 0},
      {"batch", endpoint.changed}};
  if (endpoint.chain[side] != 0) object["chain"] = endpoint.chain[side];
  return object;
}

json::object to_json(const bpf::host_endpoint& endpoint, std::uint32_t number, std::size_t side) {
  constexpr std::array kHooks{"normal-in",    "normal-out",    "forward-in", "forward-out",
                              "untracked-in", "untracked-out", "pre-DNAT-in"};
  json::object chains;
  for (const int family : {0, 1}) {
    for (std::size_t hook = 0; hook < kHooks.size(); ++hook) {
      if (const auto chain = endpoint.chains[side].chain[family][hook]; chain != 0)
        chains[fmt::format("IPv{} {}", family == 0 ? 4 : 6, kHooks[hook])] = chain;
    }
  }
  return {{"hostEndpoint", number}, {"chains", std::move(chains)}, {"batch", endpoint.changed}};
}

json::object owner_to_json(std::uint32_t owner, std::uint32_t places) {
  json::object object{{"holder", "no workload"}};
  if (owner == bpf::OWNER_HOST_FOR_OTHERS) {
    object["holder"] = "others, forwarded at host endpoints";
  } else if ((owner & bpf::OWNER_HOST_ENDPOINT) != 0) {
    object["holder"] = "host endpoint";
    object["hostEndpoint"] = owner & ~std::uint32_t{bpf::OWNER_HOST_ENDPOINT};
  } else if ((owner & bpf::OWNER_AT_HOST) != 0) {
    object["holder"] = "workload, at host endpoints";
    object["slot"] = owner & ~std::uint32_t{bpf::OWNER_AT_HOST};
  } else if (owner != 0) {
    object["holder"] = "workload";
    object["slot"] = owner;
  }
  object["places"] = places;
  object["many"] = places > bpf::HOLDS_MANY;
  return object;
}

std::string object_table(const std::vector<json::object>& rows,
                         const std::vector<std::string_view>& columns) {
  TextTable table;
  for (const auto column : columns) {
    std::string header;
    for (const char letter : column) {
      if (letter >= 'A' && letter <= 'Z') header += ' ';
      header += static_cast<char>(letter >= 'a' && letter <= 'z' ? letter - 'a' + 'A' : letter);
    }
    table.headers.push_back(std::move(header));
  }
  for (const auto& row : rows) {
    auto& cells = table.rows.emplace_back();
    for (const auto column : columns) {
      const auto* found = row.if_contains(column);
      cells.push_back(found == nullptr ? "-" : cell_text(*found));
    }
  }
  return table.to_string();
}

}  // namespace ocicat::views
