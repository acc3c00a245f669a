// What Log rules say of a packet where no rule of nftables says it: a line each, as the kernel's log has
// them.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "flows/recorder.h"
#include "policy/host_settings.h"

namespace ocicat::flows {

// How many lines the Log rules of a policy may say; of those that it has been asked for, not of each one apart.
class LogLimiter {
 public:
  using Moment = std::chrono::steady_clock::time_point;

  void limit(const HostSettings::LogLimit& limit);
  // Whether there is one more to say.
  bool take(const std::string& policy, Moment now);
  // Policies that are remembered.
  std::size_t size() const { return buckets_.size(); }

 private:
  struct Bucket {
    double lines = 0;
    Moment filled;
  };
  double filled(const Bucket& bucket, Moment now) const;

  HostSettings::LogLimit limit_;
  std::unordered_map<std::string, Bucket> buckets_;
};

// In order, egress policy's before ingress policy's. `format`: logPrefix. `name_of`: of an interface by its
// index; empty where it has gone. Nothing for packets that were refused before policy was asked, or of a
// known connection.
//
//   calico-packet: IN=cali123 OUT= SRC=10.65.0.2 DST=10.65.0.3 LEN=60 PROTO=TCP SPT=40000 DPT=80
std::vector<std::string> log_lines(const Sighting& sighting, const std::string& format,
                                   const std::function<std::string(std::uint32_t)>& name_of,
                                   const std::function<bool(const std::string& policy)>& may_say);

}  // namespace ocicat::flows
