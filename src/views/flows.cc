#include "views/flows.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <boost/json.hpp>

#include "base/time_text.h"
#include "flows/trace.h"
#include "views/explain.h"
#include "views/json_read.h"
#include "views/text_table.h"
#include "views/traffic.h"

namespace ocicat::views {
namespace {

namespace json = boost::json;
using flows::KnownOutcome;
using policy::Direction;

json::array array_of(const std::vector<std::string>& texts) {
  json::array array;
  for (const auto& text : texts) array.emplace_back(text);
  return array;
}

json::object group_json(const flows::Group& group, const std::shared_ptr<const Labels>& labels) {
  json::object object{{"type", flows::to_string(group.type)}};
  if (!group.ns.empty()) object["namespace"] = group.ns;
  object["nameAggregated"] = group.name;
  if (labels) {
    json::object all;
    for (const auto& [name, value] : *labels) all[name] = value;
    object["labels"] = std::move(all);
  }
  return object;
}

json::object party_json(const flows::Party& party, const IpAddress& address) {
  json::object object = group_json(*party.group, party.labels);
  if (!party.name.empty()) object["name"] = party.name;
  object["address"] = address.to_string();
  return object;
}

Traffic traffic_of(Protocol protocol, std::uint16_t port) {
  Traffic traffic;
  traffic.protocol = protocol;
  if (traffic.is_icmp()) {
    traffic.family = protocol == kIcmp ? Family::kIpv4 : Family::kIpv6;
    traffic.icmp_type = static_cast<std::uint8_t>(port >> 8);
    traffic.icmp_code = static_cast<std::uint8_t>(port);
  } else if (traffic.has_port()) {
    traffic.port = port;
  }
  return traffic;
}

bool counts(const policy::TraceStep& step) {
  return step.action != Action::kLog;
}

// What the end that tells has to say.
void add_policies(json::object& object, const KnownOutcome& outcome, Direction end, flows::Reason reason) {
  json::array why, selected_by;
  json::object policies;
  if (outcome) {
    policies["enforced"] = array_of(flows::hits_of(*outcome));
    policies["pending"] = array_of(flows::hits_of(outcome->with_staged()));
    for (const auto& step : outcome->trace) {
      if (counts(step)) why.emplace_back(in_words(step, end));
      for (const ResourceKey& policy : step.selected_by) selected_by.emplace_back(policy.to_string());
    }
  }
  const bool by_policy = reason == flows::Reason::kAllowed || reason == flows::Reason::kPolicy;
  if (!by_policy) why.insert(why.begin(), json::value(flows::in_words(reason)));
  object["policies"] = std::move(policies);
  object["why"] = std::move(why);
  if (!selected_by.empty()) object["selectedBy"] = std::move(selected_by);
}

// What decided, and, where it was the end of a tier, the policies there that had nothing to say.
std::string why_text(const json::object& flow) {
  const auto selected_by = list_at(flow, {"selectedBy"}, ", ");
  return list_at(flow, {"why"}, "; ") + (selected_by.empty() ? "" : fmt::format(" ({})", selected_by));
}

// What is told alike of one and of many.
json::object begin(std::string_view host, Direction end, flows::Reason reason, const Traffic& traffic) {
  json::object object{{"host", host},
                      {"reporter", end == Direction::kEgress ? "src" : "dst"},
                      {"action", reason == flows::Reason::kAllowed ? "allow" : "deny"},
                      {"reason", flows::to_string(reason)},
                      {"protocol", traffic.protocol_text()}};
  object["traffic"] = traffic.to_string();
  return object;
}

// "shop/api", "web-*", "203.0.113.7".
std::string party_text(const json::object& party, bool one) {
  const auto ns = text_at(party, {"namespace"});
  auto name = text_at(party, {one ? "name" : "nameAggregated"});
  if (name.empty()) return text_at(party, {"address"});
  if (!ns.empty()) name.insert(0, ns + "/");
  if (one && text_at(party, {"type"}) != "wep") name += fmt::format(" ({})", text_at(party, {"address"}));
  return name;
}

std::string parties_text(const json::object& flow, bool one) {
  std::string text;
  for (const char* end : {"source", "destination"}) {
    const auto* party = find_at(flow, {end});
    if (party == nullptr || !party->is_object()) continue;
    if (!text.empty()) text += " → ";
    text += party_text(party->get_object(), one);
  }
  return text;
}

}  // namespace

json::object to_json(const flows::Sighting& sighting, std::string_view host) {
  const auto& event = sighting.event;
  const auto end = sighting.decider();
  const auto traffic = traffic_of(event.protocol, event.destination_port);
  json::object object = begin(host, end, event.reason, traffic);
  object["time"] = time_text(event.time);
  auto source = party_json(sighting.source, event.source);
  auto destination = party_json(sighting.destination, event.destination);
  if (traffic.has_port()) {
    source["port"] = event.source_port;
    destination["port"] = event.destination_port;
  }
  object["source"] = std::move(source);
  object["destination"] = std::move(destination);
  object["bytes"] = event.size;
  add_policies(object, *sighting.outcomes[static_cast<std::size_t>(end)], end, event.reason);
  return object;
}

json::object to_json(const flows::Aggregate& aggregate, std::string_view host) {
  const auto traffic = traffic_of(aggregate.protocol, aggregate.destination_port);
  json::object object = begin(host, aggregate.reporter, aggregate.reason, traffic);
  object["source"] = group_json(*aggregate.source, aggregate.source_labels);
  auto destination = group_json(*aggregate.destination, aggregate.destination_labels);
  if (traffic.has_port()) destination["port"] = aggregate.destination_port;
  object["destination"] = std::move(destination);
  object["first"] = time_text(aggregate.first);
  object["last"] = time_text(aggregate.last);
  add_counts(object, aggregate.counts);
  add_policies(object, aggregate.outcome, aggregate.reporter, aggregate.reason);
  return object;
}

void add_counts(json::object& object, const flows::Counts& counts) {
  object["flows"] = counts.flows;
  object["completed"] = counts.completed;
  object["live"] = counts.live;
  object["packetsIn"] = counts.packets_in;
  object["packetsOut"] = counts.packets_out;
  object["bytesIn"] = counts.bytes_in;
  object["bytesOut"] = counts.bytes_out;
  object["refused"] = counts.refused;
  object["refusedBytes"] = counts.refused_bytes;
}

std::string flow_line(const json::object& flow) {
  // "2026-11-27T02:17:00.123Z": the time of day will do.
  const auto time = text_at(flow, {"time"});
  const auto begin = time.find('T');
  return printable(
      fmt::format("{} {} {:5} {} {} at {}: {}", begin == std::string::npos ? time : time.substr(begin + 1),
                  text_at(flow, {"host"}), text_at(flow, {"action"}), text_at(flow, {"traffic"}),
                  parties_text(flow, true), text_at(flow, {"reporter"}) == "src" ? "source" : "destination",
                  why_text(flow)));
}

std::string flow_table(const std::vector<json::object>& aggregates) {
  std::vector<const json::object*> order;
  for (const auto& aggregate : aggregates) order.push_back(&aggregate);
  const auto packets = [](const json::object* one) {
    return number_at(*one, {"flows"}) + number_at(*one, {"packetsIn"}) + number_at(*one, {"packetsOut"}) +
           number_at(*one, {"refused"});
  };
  std::ranges::stable_sort(order, std::greater{}, packets);
  TextTable table{{"HOST", "ACTION", "FLOWS", "PACKETS", "REFUSED", "TRAFFIC", "FLOW", "AT", "WHY"}, {}};
  for (const auto* one : order) {
    const auto carried = number_at(*one, {"packetsIn"}) + number_at(*one, {"packetsOut"});
    table.rows.push_back({text_at(*one, {"host"}), text_at(*one, {"action"}), text_at(*one, {"flows"}),
                          fmt::format("{}", carried), text_at(*one, {"refused"}), text_at(*one, {"traffic"}),
                          parties_text(*one, false),
                          text_at(*one, {"reporter"}) == "src" ? "source" : "destination", why_text(*one)});
  }
  return table.to_string();
}

}  // namespace ocicat::views
