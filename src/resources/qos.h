// What a workload may receive and send at most, as its document says: `spec.qosControls` of a
// WorkloadEndpoint, or the annotations of a Pod.
//
//   names    as the fields have them: "ingressBandwidth"; of an annotation "qos.projectcalico.org/" is put
//            before, or it is one of kubernetes.io's two
//   source   docs/spec: validation.md 7.5
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "resources/metadata.h"

namespace ocicat {

struct Bandwidth {
  std::uint64_t rate = 0;         // bits a second; 0: whatever there is, and nothing of the rest counts
  std::uint64_t burst = 0;        // bits, at once
  std::uint64_t peak = 0;         // bits a second, of a burst; 0: as fast as they come
  std::uint64_t least_burst = 0;  // bytes, at the peak; 0: what the interface takes in one packet

  auto operator<=>(const Bandwidth&) const = default;
};

struct BandwidthLimits {
  Bandwidth ingress;  // to the workload
  Bandwidth egress;   // from it

  bool any() const { return ingress.rate != 0 || egress.rate != 0; }
  auto operator<=>(const BandwidthLimits&) const = default;
};

struct QosControls {
  BandwidthLimits limits;
  // For people; empty: nothing.
  std::string told;     // what has no effect
  std::string bounded;  // what is in force, but as the bound that it is beyond

  bool operator==(const QosControls&) const = default;
};

// By name, as written.
struct QosValues {
  std::map<std::string, std::int64_t> numbers;
  bool dscp = false;       // packets are to be marked
  std::string unreadable;  // the first that is no quantity, and why; it is not in `numbers`
};
// Where both ask for the same, Calico's annotation counts.
QosValues qos_of_annotations(const Labels& annotations);
inline constexpr const char* kQosAnnotations = "qos.projectcalico.org/";

// What is out of bounds becomes the bound.
QosControls qos_controls(const QosValues& values);

}  // namespace ocicat
