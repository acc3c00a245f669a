#include "dataplane/limits/bandwidth_table.h"

#include <algorithm>
#include <limits>

namespace ocicat::dataplane {
namespace {

constexpr std::uint64_t kBitsAByte = 8;
constexpr std::uint32_t kFrameHeader = 18;  // Ethernet, with a VLAN tag
// What may wait: so long at the limit, but room for two packets as large as software makes them, and no more
// than is good for memory.
constexpr std::uint64_t kQueuesASecond = 20;
constexpr std::uint64_t kLeastQueue = 128 << 10, kMostQueue = 16 << 20;

std::uint32_t bounded(std::uint64_t bytes, std::uint64_t least) {
  return static_cast<std::uint32_t>(
      std::clamp<std::uint64_t>(bytes, least, std::numeric_limits<std::uint32_t>::max()));
}

// Of a queue on its way out: what waits leaves at once.
constexpr kernel::Bucket kOpen{
    .rate = 125'000'000'000, .burst = std::numeric_limits<std::uint32_t>::max(), .queue = kMostQueue};

const Bandwidth& side(const BandwidthLimits& limits, kernel::Passage passage) {
  return passage == kernel::Passage::kOut ? limits.ingress : limits.egress;
}

void keep_first(Result<void>& first, const Result<void>& next) {
  if (first && !next) first = next;
}

}  // namespace

kernel::Bucket bucket_of(const Bandwidth& bandwidth, std::uint32_t mtu) {
  const std::uint64_t packet = mtu + kFrameHeader;
  kernel::Bucket bucket;
  bucket.rate = bandwidth.rate / kBitsAByte;
  bucket.burst = bounded(bandwidth.burst / kBitsAByte, packet);
  bucket.peak = bandwidth.peak / kBitsAByte;
  if (bucket.peak <= bucket.rate) bucket.peak = 0;
  if (bucket.peak != 0) bucket.peak_burst = bounded(bandwidth.least_burst, packet);
  bucket.queue =
      static_cast<std::uint32_t>(std::clamp(bucket.rate / kQueuesASecond, kLeastQueue, kMostQueue));
  return bucket;
}

void BandwidthTable::want(const Changes<ResourceKey, EndpointState>& endpoints) {
  for (const auto& [key, endpoint] : endpoints.entries()) {
    const auto before = limited_.find(key);
    const bool limits = endpoint && endpoint->limits.any();
    if (!limits && before == limited_.end()) continue;
    known_ = false;
    if (limits) {
      limited_.insert_or_assign(key, *endpoint);
    } else {
      limited_.erase(before);
    }
  }
}

void BandwidthTable::distrust() {
  // Where there is nothing of ours nobody else makes any.
  if (!limited_.empty() || left_) known_ = false;
}

bool BandwidthTable::is_ready(const EndpointState& endpoint) const {
  return !endpoint.limits.any() || in_force_.contains(endpoint.interface_name);
}

BandwidthTable::Buckets BandwidthTable::wanted(const Links& links) const {
  Buckets buckets;
  for (const auto& [key, endpoint] : limited_) {
    const auto link = links.find(endpoint.interface_name);
    if (link == links.end()) continue;
    for (const auto passage : kernel::kPassages) {
      const auto& bandwidth = side(endpoint.limits, passage);
      if (bandwidth.rate != 0)
        buckets.emplace(kernel::Passing{link->second.index, passage}, bucket_of(bandwidth, link->second.mtu));
    }
  }
  return buckets;
}

Result<void> BandwidthTable::write(Result<void> done) {
  if (done) ++writes_;
  return done;
}

Result<void> BandwidthTable::hold(const kernel::Passing& passing, const kernel::Bucket& bucket,
                                  const kernel::Limit* there) {
  const bool whole = there != nullptr && there->up && there->as_wanted;
  if (!whole) TRY_VOID(write(kernel_.limit(passing, bucket)));
  if (passing.passage == kernel::Passage::kOut) return {};
  TRY(const int detour, kernel_.detour(passing.link));
  // A relay that is new has another index than one that somebody has removed.
  if (there != nullptr && detour == there->holder) return {};
  return write(kernel_.lead(passing.link));
}

Result<void> BandwidthTable::let_go(const kernel::Passing& passing, const kernel::Limit& there,
                                    bool link_is_there) {
  if (link_is_there && there.rate != kOpen.rate) {
    // Packets may be on their way into it: the kernel tells of this change, and it goes when we look again.
    if (passing.passage == kernel::Passage::kIn) TRY_VOID(write(kernel_.release(passing.link)));
    return write(kernel_.limit(passing, kOpen));
  }
  return there.waiting == 0 || !link_is_there ? write(kernel_.remove(passing)) : Result<void>();
}

Result<void> BandwidthTable::sync(const Links& links) {
  if (known_) return {};
  const auto buckets = wanted(links);
  TRY(const auto there, kernel_.limits(buckets));
  std::set<int> indexes;
  for (const auto& [name, link] : links) indexes.insert(link.index);
  Result<void> first;
  std::set<int> failed;
  for (const auto& [passing, bucket] : buckets) {
    const auto present = there.find(passing);
    const auto held = hold(passing, bucket, present == there.end() ? nullptr : &present->second);
    if (!held) failed.insert(passing.link);
    keep_first(first, held);
  }
  left_ = std::ranges::any_of(there, [&](const auto& entry) { return !buckets.contains(entry.first); });
  for (const auto& [passing, limit] : there) {
    if (buckets.contains(passing)) continue;
    const auto gone = let_go(passing, limit, indexes.contains(passing.link));
    keep_first(first, gone);
  }
  in_force_.clear();
  for (const auto& [key, endpoint] : limited_) {
    const auto link = links.find(endpoint.interface_name);
    if (link != links.end() && !failed.contains(link->second.index))
      in_force_.insert(endpoint.interface_name);
  }
  known_ = first.has_value();
  return first;
}

Result<void> remove_limits(kernel::QueueKernel& kernel) {
  TRY(const auto there, kernel.limits({}));
  for (const auto& [passing, limit] : there) {
    if (passing.passage == kernel::Passage::kIn) TRY_VOID(kernel.release(passing.link));
    TRY_VOID(kernel.remove(passing));
  }
  return {};
}

}  // namespace ocicat::dataplane
