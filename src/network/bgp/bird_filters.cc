// BGPFilters as functions: rules in order; one that holds decides, and after the last the defaults follow.
#include <algorithm>
#include <iterator>

#include "network/bgp/bird_text.h"

namespace ocicat::network::bgp {
namespace {

using Rule = BgpFilterRule;
using Filters = std::map<std::string, BgpFilter>;

// BIRD's kernel metric and the preference among hosts of one AS are two sides of one number.
constexpr std::uint32_t kMetricBase = 2147483647;

std::string in_net(const Rule& rule) {
  const auto text = rule.cidr->to_string();
  const bool exact = rule.match == Rule::Match::kEqual || rule.match == Rule::Match::kNotEqual;
  auto condition = exact ? fmt::format("net = {}", text) : fmt::format("net ~ [ {}+ ]", text);
  if (rule.least_length) condition += fmt::format(" && net.len >= {}", *rule.least_length);
  if (rule.most_length) condition += fmt::format(" && net.len <= {}", *rule.most_length);
  const bool negated = rule.match == Rule::Match::kNotEqual || rule.match == Rule::Match::kNotIn;
  return negated ? fmt::format("!({})", condition) : condition;
}

std::string has_community(const Community& community) {
  const auto& [a, b, c] = community.parts;
  return community.large ? fmt::format("({}, {}, {}) ~ bgp_large_community", a, b, c)
                         : fmt::format("({}, {}) ~ bgp_community", a, b);
}

std::string condition_of(const Rule& rule) {
  std::vector<std::string> all;
  if (rule.cidr) all.push_back(in_net(rule));
  if (rule.from_remote_peers) all.emplace_back("source = RTS_BGP");
  if (!rule.interface_name.empty()) all.push_back(fmt::format("ifname ~ \"{}\"", rule.interface_name));
  if (rule.peer_type)
    all.emplace_back(*rule.peer_type == Rule::PeerType::kExternal ? "external_peer" : "!external_peer");
  if (rule.community) all.push_back(has_community(*rule.community));
  if (!rule.as_path_prefix.empty())
    all.push_back(fmt::format("bgp_path ~ [= {} * =]", fmt::join(rule.as_path_prefix, " ")));
  if (rule.priority) all.push_back(fmt::format("route_metric() = {}", *rule.priority));
  if (all.empty()) return "true";
  std::string text;
  for (const auto& one : all) text += fmt::format("{}({})", text.empty() ? "" : " && ", one);
  return text;
}

std::string words(const Rule::Operation& operation) {
  if (const auto* add = std::get_if<Rule::AddCommunity>(&operation)) return add_community(add->community);
  if (const auto* set = std::get_if<Rule::SetPriority>(&operation))
    return fmt::format("bgp_local_pref = {};", kMetricBase - set->metric);
  std::string text;
  // The last that is put in front stands first.
  const auto& prefix = std::get<Rule::PrependAsPath>(operation).prefix;
  for (auto number = prefix.rbegin(); number != prefix.rend(); ++number)
    text += fmt::format("{}bgp_path.prepend({});", text.empty() ? "" : " ", *number);
  return text;
}

const std::vector<Rule>& rules_of(const BgpFilter& filter, bool exports, Family family) {
  const std::size_t i = family == Family::kIpv4 ? 0 : 1;
  return exports ? filter.export_rules[i] : filter.import_rules[i];
}

std::string function_name(std::size_t place, bool exports, Family family) {
  return fmt::format("bgpfilter{}_{}{}", place + 1, exports ? "export" : "import", digit(family));
}

}  // namespace

std::string filter_functions(const Filters& filters) {
  std::string text;
  std::size_t place = 0;
  for (const auto& [name, filter] : filters) {
    for (const bool exports : {true, false}) {
      for (const auto family : kFamilies) {
        const auto& rules = rules_of(filter, exports, family);
        if (rules.empty()) continue;
        text += comment(fmt::format("BGPFilter {}", name));
        text += fmt::format("function {}(bool external_peer)\n{{\n", function_name(place, exports, family));
        for (const auto& rule : rules) {
          text += fmt::format("  if {} then {{", condition_of(rule));
          for (const auto& operation : rule.operations) text += " " + words(operation);
          text += fmt::format(" {}; }}\n", rule.accept ? "accept" : "reject");
        }
        text += "}\n\n";
      }
    }
    ++place;
  }
  return text;
}

std::string filter_call(const Filters& filters, const std::string& name, bool exports, Family family,
                        bool external) {
  const auto it = filters.find(name);
  CHECK(it != filters.end());
  if (rules_of(it->second, exports, family).empty()) return {};
  const auto place = static_cast<std::size_t>(std::distance(filters.begin(), it));
  return fmt::format("{}({});", function_name(place, exports, family), external);
}

}  // namespace ocicat::network::bgp
