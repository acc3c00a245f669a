#include "views/idle_settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "policy/settings_in_effect.h"
#include "views/json_read.h"

namespace ocicat::views {
namespace {

namespace json = boost::json;

// What the server fills in (resources/rules_defaults.cc): nobody has set that.
constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kFilledIn{
    {{"bpfConnectTimeLoadBalancing", "TCP"},
     {"bpfHostNetworkedNATWithoutCTLB", "Enabled"},
     {"nftablesFlowTableOffload", "Disabled"},
     {"nftablesMode", "Auto"}}};

bool is_filled_in(std::string_view field, const json::value& value) {
  return value.is_string() &&
         std::ranges::find(kFilledIn, std::pair(field, std::string_view(value.get_string()))) !=
             kFilledIn.end();
}

}  // namespace

std::vector<IdleSetting> idle_settings(std::span<const json::object> configurations,
                                       const std::set<std::string>& dataplanes) {
  std::vector<IdleSetting> idle;
  for (const auto& configuration : configurations) {
    const auto* spec = find_at(configuration, {"spec"});
    if (spec == nullptr || !spec->is_object()) continue;
    const auto object = "FelixConfiguration " + text_at(configuration, {"metadata", "name"});
    for (const auto& [name, value] : spec->get_object()) {
      const std::string field(name);
      if (value.is_null() || is_filled_in(field, value)) continue;
      const auto* known = find_setting(field);
      if (known == nullptr) {
        idle.push_back({object, field, "", ""});
      } else if (const auto other = known->with == "ebpf" ? "nftables" : "ebpf";
                 !known->with.empty() && dataplanes.contains(other)) {
        idle.push_back({object, field, other, ""});
      } else if (!known->only.empty() && value == true) {
        idle.push_back({object, field, "", std::string(known->only)});
      }
    }
  }
  std::ranges::sort(idle);
  return idle;
}

std::vector<std::string> in_words(const std::vector<IdleSetting>& settings) {
  std::map<std::pair<std::string, std::string>, std::string> fields;
  for (const auto& [object, field, dataplane, only] : settings) {
    const auto effect = !only.empty()       ? only
                        : dataplane.empty() ? "no effect"
                                            : "no effect with " + dataplane;
    auto& list = fields[{object, effect}];
    list += (list.empty() ? "" : ", ") + field;
  }
  std::vector<std::string> lines;
  for (const auto& [where, list] : fields)
    lines.push_back(fmt::format("{}: {}: {}", where.first, list, where.second));
  return lines;
}

}  // namespace ocicat::views
