#include "resources/qos.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "resources/quantity.h"

namespace ocicat {
namespace {

struct Bounds {
  std::int64_t least = 0, most = 0;
};
constexpr Bounds kRate{1'000, 1'000'000'000'000'000};
constexpr Bounds kBurst{1'000, 34'359'738'360};
constexpr Bounds kPeak{1'010, 1'010'000'000'000'000};
constexpr Bounds kLeastBurst{1'000, 100'000'000};
constexpr std::int64_t kUsualBurst = 4'294'967'296;

constexpr std::array<std::string_view, 2> kDirections{"ingress", "egress"};
constexpr std::array<std::string_view, 4> kBandwidthNames{"Bandwidth", "Burst", "Peakrate", "Minburst"};
constexpr std::array<std::string_view, 3> kOtherNames{"PacketRate", "PacketBurst", "MaxConnections"};

void tell(std::string& told, const std::string& what) {
  if (!told.empty()) told += "; ";
  told += what;
}

// Of one direction.
class DirectionReader {
 public:
  DirectionReader(const QosValues& values, std::string_view direction, QosControls& controls)
      : values_(values), direction_(direction), controls_(controls) {}

  Bandwidth read() {
    const auto rate = number("Bandwidth", kRate);
    if (rate == 0) {
      for (const auto name : kBandwidthNames) {
        if (has(name))
          tell(controls_.told,
               fmt::format("{0}{1} is passed over: there is no {0}Bandwidth", direction_, name));
      }
      return {};
    }
    Bandwidth bandwidth{.rate = rate, .burst = number("Burst", kBurst)};
    if (bandwidth.burst == 0) bandwidth.burst = kUsualBurst;
    bandwidth.peak = number("Peakrate", kPeak);
    if (bandwidth.peak != 0 && bandwidth.peak <= rate) {
      tell(controls_.told,
           fmt::format("{0}Peakrate is passed over: it is not above {0}Bandwidth", direction_));
      bandwidth.peak = 0;
    }
    if (bandwidth.peak != 0) {
      bandwidth.least_burst = number("Minburst", kLeastBurst);
    } else if (has("Minburst")) {
      tell(controls_.told, fmt::format("{0}Minburst is passed over: there is no {0}Peakrate", direction_));
    }
    return bandwidth;
  }

  void tell_others() {
    for (const auto name : kOtherNames) {
      if (has(name))
        tell(controls_.told,
             fmt::format("{}{} has no effect: this dataplane does not enforce it", direction_, name));
    }
  }

 private:
  std::string full(std::string_view name) const { return fmt::format("{}{}", direction_, name); }
  bool has(std::string_view name) const { return values_.numbers.contains(full(name)); }

  // 0: absent.
  std::uint64_t number(std::string_view name, const Bounds& bounds) {
    const auto found = values_.numbers.find(full(name));
    if (found == values_.numbers.end()) return 0;
    const auto bounded = std::clamp(found->second, bounds.least, bounds.most);
    if (bounded != found->second)
      tell(controls_.bounded, fmt::format("{} of {} is taken as {}", found->first, found->second, bounded));
    return static_cast<std::uint64_t>(bounded);
  }

  const QosValues& values_;
  std::string_view direction_;
  QosControls& controls_;
};

}  // namespace

QosValues qos_of_annotations(const Labels& annotations) {
  QosValues values;
  const auto take = [&](const std::string& name, const std::string& annotation) {
    const auto text = annotations.find(annotation);
    if (text == annotations.end()) return false;
    const auto number = read_quantity(text->second);
    if (number) {
      values.numbers.emplace(name, *number);
    } else if (values.unreadable.empty()) {
      values.unreadable = fmt::format("{} \"{}\" is no quantity, such as 10M", annotation, text->second);
    }
    return true;
  };
  for (const auto direction : kDirections) {
    const auto full = [&](std::string_view name) { return fmt::format("{}{}", direction, name); };
    const auto bandwidth = full("Bandwidth");
    if (!take(bandwidth, kQosAnnotations + bandwidth))
      take(bandwidth, fmt::format("kubernetes.io/{}-bandwidth", direction));
    for (std::size_t i = 1; i < kBandwidthNames.size(); ++i) {
      take(full(kBandwidthNames[i]), kQosAnnotations + full(kBandwidthNames[i]));
    }
    for (const auto name : kOtherNames) take(full(name), kQosAnnotations + full(name));
  }
  values.dscp = annotations.contains(fmt::format("{}dscp", kQosAnnotations));
  return values;
}

QosControls qos_controls(const QosValues& values) {
  QosControls controls;
  if (!values.unreadable.empty()) controls.told = values.unreadable + ": it is passed over";
  DirectionReader ingress(values, kDirections[0], controls);
  DirectionReader egress(values, kDirections[1], controls);
  controls.limits = {ingress.read(), egress.read()};
  ingress.tell_others();
  egress.tell_others();
  if (values.dscp) tell(controls.told, "dscp has no effect: this dataplane marks no packets");
  return controls;
}

}  // namespace ocicat
