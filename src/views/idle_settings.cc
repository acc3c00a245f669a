#include "views/idle_settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <cctype>
#include <map>
#include <ranges>
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

// Of a field of many: an object, or "NAME=VALUE,…".
std::vector<std::string> parts_of(const json::value& value) {
  std::vector<std::string> parts;
  if (value.is_object()) {
    for (const auto& [name, part] : value.get_object()) {
      if (!part.is_null()) parts.emplace_back(name);
    }
  } else if (value.is_string()) {
    const std::string_view text = value.get_string();
    for (const auto entry : std::views::split(text, ',')) {
      const std::string_view words(entry.begin(), entry.end());
      if (words.contains('=')) parts.emplace_back(words.substr(0, words.find('=')));
    }
  }
  return parts;
}

std::string in_small_letters(const json::value& value) {
  std::string text = value.is_string() ? std::string(value.get_string()) : json::serialize(value);
  std::ranges::transform(text, text.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

// Of one configuration.
class Finding {
 public:
  Finding(std::string object, const DatapathsInUse& datapaths, std::vector<IdleSetting>& idle)
      : object_(std::move(object)), datapaths_(datapaths), idle_(idle) {}

  void look_at(const std::string& field, const json::value& value) {
    const auto* known = find_setting(field);
    if (known == nullptr) return add(field);
    const std::string other = known->with == "ebpf" ? "nftables" : "ebpf";
    if (!known->with.empty() && datapaths_.any.contains(other)) add(field, other);
    if (!known->parts.empty()) look_at_parts(*known, value);
    for (const auto& less : shortfalls()) {
      if (less.field == field && less.value == in_small_letters(value) && is_anywhere(less))
        add(field, std::string(less.dataplane), std::string(less.only));
    }
  }

 private:
  void look_at_parts(const SettingInEffect& known, const json::value& value) {
    for (const auto& part : parts_of(value)) {
      if (std::ranges::find(known.parts, part) == known.parts.end())
        add(fmt::format("{}.{}", known.field, part));
    }
  }
  bool is_anywhere(const Shortfall& less) const {
    const auto& used = less.at_host_endpoints ? datapaths_.with_host_endpoints : datapaths_.any;
    return less.dataplane.empty() || used.contains(std::string(less.dataplane));
  }
  void add(std::string field, std::string dataplane = {}, std::string only = {}) {
    idle_.push_back({object_, std::move(field), std::move(dataplane), std::move(only)});
  }

  std::string object_;
  const DatapathsInUse& datapaths_;
  std::vector<IdleSetting>& idle_;
};

}  // namespace

std::vector<IdleSetting> idle_settings(std::span<const json::object> configurations,
                                       const DatapathsInUse& datapaths) {
  std::vector<IdleSetting> idle;
  for (const auto& configuration : configurations) {
    const auto* spec = find_at(configuration, {"spec"});
    if (spec == nullptr || !spec->is_object()) continue;
    Finding finding("FelixConfiguration " + text_at(configuration, {"metadata", "name"}), datapaths, idle);
    for (const auto& [name, value] : spec->get_object()) {
      if (!value.is_null() && !is_filled_in(name, value)) finding.look_at(std::string(name), value);
    }
  }
  std::ranges::sort(idle);
  return idle;
}

std::vector<std::string> in_words(const std::vector<IdleSetting>& settings) {
  std::map<std::pair<std::string, std::string>, std::string> fields;
  for (const auto& [object, field, dataplane, only] : settings) {
    const auto with = dataplane.empty() ? "" : "with " + dataplane;
    const auto effect = only.empty()   ? "no effect" + (with.empty() ? "" : " " + with)
                        : with.empty() ? only
                                       : with + ", " + only;
    auto& list = fields[{object, effect}];
    list += (list.empty() ? "" : ", ") + field;
  }
  std::vector<std::string> lines;
  for (const auto& [where, list] : fields)
    lines.push_back(fmt::format("{}: {}: {}", where.first, list, where.second));
  return lines;
}

}  // namespace ocicat::views
