// FelixConfiguration: every field as text, the way the environment would say it.
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <utility>

#include "base/time_text.h"
#include "resources/decoders.h"
#include "resources/fields.h"

namespace ocicat::decoding {
namespace json = boost::json;

namespace {

// Fields that hold a duration, and are said in seconds.
constexpr std::array<std::string_view, 27> kDurations{
    "bpfIPFragTimeout",
    "bpfKubeProxyMinSyncPeriod",
    "dataplaneWatchdogTimeout",
    "debugSimulateCalcGraphHangAfter",
    "debugSimulateDataplaneApplyDelay",
    "debugSimulateDataplaneHangAfter",
    "endpointReportingDelay",
    "flowLogsFlushInterval",
    "interfaceRefreshInterval",
    "ipsetsRefreshInterval",
    "iptablesPostWriteCheckInterval",
    "iptablesRefreshInterval",
    "liveMigrationRouteConvergenceTime",
    "localSubnetL2ReachabilityRefreshInterval",
    "netlinkTimeout",
    "nftablesRefreshInterval",
    "reportingInterval",
    "reportingTTL",
    "routeRefreshInterval",
    "usageReportingInitialDelay",
    "usageReportingInterval",
    "wireguardKeepAlive",
    "xdpRefreshInterval",
};
constexpr std::string_view kMillisecondField = "iptablesLockProbeInterval";
constexpr std::string_view kAnnotationPrefix = "config.projectcalico.org/";

std::string lower_case(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower;
}

std::string scalar_text(const json::value& value) {
  const auto text = fields::text_of(value);
  return text ? std::string(*text) : json::serialize(value);
}

std::string field_text(const json::object& object, std::string_view name) {
  const auto* value = fields::find(object, name);
  return value == nullptr ? std::string() : scalar_text(*value);
}

// "tcp:22", "tcp:10.0.0.0/8:22", "tcp:[fd00::/8]:22".
std::string failsafe_text(const json::object& port) {
  auto protocol = lower_case(field_text(port, "protocol"));
  if (protocol.empty()) protocol = "tcp";
  const auto net = field_text(port, "net");
  const auto number = field_text(port, "port");
  if (net.empty()) return fmt::format("{}:{}", protocol, number);
  if (net.find(':') != std::string::npos) return fmt::format("{}:[{}]:{}", protocol, net, number);
  return fmt::format("{}:{}:{}", protocol, net, number);
}

std::string entry_text(std::string_view name, const json::value& entry) {
  const auto* object = entry.if_object();
  if (object == nullptr) return scalar_text(entry);
  if (name.starts_with("failsafe")) return failsafe_text(*object);
  if (name == "routeTableRanges")
    return fmt::format("{}-{}", field_text(*object, "min"), field_text(*object, "max"));
  if (name == "healthTimeoutOverrides") {
    return fmt::format("{}={}", field_text(*object, "name"), field_text(*object, "timeout"));
  }
  return json::serialize(entry);
}

std::string list_text(std::string_view name, const json::array& list) {
  if (list.empty() && name.starts_with("failsafe")) return "none";
  std::string text;
  for (const auto& entry : list) {
    if (!text.empty()) text += ',';
    text += entry_text(name, entry);
  }
  return text;
}

std::string object_text(std::string_view name, const json::object& object) {
  if (name == "routeTableRange") return entry_text("routeTableRanges", object);
  std::string text;
  for (const auto& [key, value] : object) {
    if (!text.empty()) text += ',';
    text += fmt::format("{}={}", fields::view(key), scalar_text(value));
  }
  return text;
}

std::string value_text(std::string_view name, const json::value& value) {
  if (const auto* list = value.if_array()) return list_text(name, *list);
  if (const auto* object = value.if_object()) return object_text(name, *object);
  auto text = scalar_text(value);
  const bool in_milliseconds = name == kMillisecondField;
  if (!in_milliseconds && std::ranges::find(kDurations, name) == kDurations.end()) return text;
  const auto seconds = seconds_of(text);
  return seconds ? fmt::format("{}", in_milliseconds ? *seconds * 1000 : *seconds) : text;
}

// By name in lower case: the name as written, and the text.
using Values = std::map<std::string, std::pair<std::string, std::string>>;

// "config.projectcalico.org/LogSeverityScreen" says the field raw, and wins over it.
void apply_annotations(const json::object& document, Values& values) {
  const auto metadata = fields::object_at(document, "metadata");
  const auto annotations = fields::labels_at(**metadata, "annotations");
  if (!annotations) return;
  for (const auto& [key, text] : *annotations) {
    if (!key.starts_with(kAnnotationPrefix)) continue;
    const auto name = std::string_view(key).substr(kAnnotationPrefix.size());
    values.try_emplace(lower_case(name), name, "").first->second.second = text;
  }
}

}  // namespace

Result<FelixConfiguration> felix_configuration(const json::object& document) {
  FelixConfiguration configuration;
  TRY(configuration.metadata, read_metadata(Kind::kFelixConfiguration, document));
  TRY(const auto* spec, fields::object_at(document, "spec"));
  Values values;
  if (spec != nullptr) {
    auto selector = fields::selector_at(*spec, "nodeSelector");
    if (!selector) return fields::inside("spec", std::move(selector).error());
    configuration.node_selector = *std::move(selector);
    for (const auto& [key, value] : *spec) {
      const auto name = fields::view(key);
      if (name == "nodeSelector" || value.is_null()) continue;
      values.try_emplace(lower_case(name), name, value_text(name, value));
    }
  }
  apply_annotations(document, values);
  Labels::sequence_type entries;
  entries.reserve(values.size());
  for (auto& [lower, value] : values) entries.emplace_back(std::move(value.first), std::move(value.second));
  configuration.values = fields::labels_from(std::move(entries));
  return configuration;
}

}  // namespace ocicat::decoding
