#include "flows/log_lines.h"

#include <fmt/format.h>

#include <algorithm>

#include "dataplane/edges/log_text.h"

namespace ocicat::flows {
namespace {

std::string protocol_text(Protocol protocol) {
  switch (protocol) {
    case kTcp:
      return "TCP";
    case kUdp:
      return "UDP";
    case kUdpLite:
      return "UDPLITE";
    case kSctp:
      return "SCTP";
    case kIcmp:
      return "ICMP";
    case kIcmpV6:
      return "ICMPv6";
    default:
      return fmt::format("{}", protocol);
  }
}

std::string packet_text(const Event& event, const std::string& interface) {
  auto text = fmt::format("IN={} OUT={} SRC={} DST={} LEN={} PROTO={}", event.comes_in ? interface : "",
                          event.comes_in ? "" : interface, event.source.to_string(),
                          event.destination.to_string(), event.size, protocol_text(event.protocol));
  if (event.protocol == kIcmp || event.protocol == kIcmpV6)
    return text + fmt::format(" TYPE={} CODE={}", event.destination_port >> 8, event.destination_port & 0xff);
  if (!has_ports(event.protocol) && event.protocol != kUdpLite) return text;
  return text + fmt::format(" SPT={} DPT={}", event.source_port, event.destination_port);
}

// Whether policy has been asked about this very packet, as one that begins something.
bool was_judged(Reason reason) {
  return reason == Reason::kAllowed || reason == Reason::kLogged || reason == Reason::kPolicy ||
         reason == Reason::kToHost;
}

}  // namespace

void LogLimiter::limit(const HostSettings::LogLimit& limit) {
  if (limit == limit_) return;
  limit_ = limit;
  buckets_.clear();
}

double LogLimiter::filled(const Bucket& bucket, Moment now) const {
  const std::chrono::duration<double> passed = now - bucket.filled, per = limit_.per;
  return std::min<double>(limit_.burst, bucket.lines + passed / per * limit_.lines);
}

bool LogLimiter::take(const std::string& policy, Moment now) {
  if (limit_.lines == 0) return true;
  constexpr std::size_t kMany = 4096;  // policies come and go
  if (buckets_.size() >= kMany)
    std::erase_if(buckets_, [&](const auto& entry) { return filled(entry.second, now) >= limit_.burst; });
  const auto [it, is_new] = buckets_.try_emplace(policy, Bucket{static_cast<double>(limit_.burst), now});
  auto& bucket = it->second;
  bucket = {filled(bucket, now), now};
  if (bucket.lines < 1) return false;
  --bucket.lines;
  return true;
}

std::vector<std::string> log_lines(const Sighting& sighting, const std::string& format,
                                   const std::function<std::string(std::uint32_t)>& name_of,
                                   const std::function<bool(const std::string& policy)>& may_say) {
  std::vector<std::string> lines;
  std::string packet;
  if (!was_judged(sighting.event.reason)) return lines;
  for (const auto end : {policy::Direction::kEgress, policy::Direction::kIngress}) {
    const auto& outcome = *sighting.outcomes[static_cast<std::size_t>(end)];
    if (!outcome) continue;
    for (const auto& rule : dataplane::log_rules_of(*outcome)) {
      if (!may_say(rule.policy.to_string())) continue;
      if (packet.empty()) packet = packet_text(sighting.event, name_of(sighting.event.interface));
      lines.push_back(dataplane::log_text(format, rule) + packet);
    }
  }
  return lines;
}

}  // namespace ocicat::flows
