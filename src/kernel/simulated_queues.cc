#include "kernel/simulated_queues.h"

namespace ocicat::kernel {

Result<std::map<Passing, Limit>> SimulatedQueues::limits(const std::map<Passing, Bucket>& wanted) {
  if (const auto error = fault()) return std::unexpected(*error);
  std::map<Passing, Limit> limits;
  for (const auto& [passing, there] : held) {
    const auto bucket = wanted.find(passing);
    limits.emplace(passing, Limit{.holder = there.holder,
                                  .up = true,
                                  .as_wanted = bucket != wanted.end() && bucket->second == there.bucket,
                                  .rate = there.bucket.rate,
                                  .waiting = there.waiting});
  }
  return limits;
}

Result<void> SimulatedQueues::limit(const Passing& passing, const Bucket& bucket) {
  if (const auto error = fault()) return std::unexpected(*error);
  auto& there = held[passing];
  if (there.holder == 0) there.holder = passing.passage == Passage::kOut ? passing.link : ++next_link_;
  there.bucket = bucket;
  return {};
}

Result<void> SimulatedQueues::remove(const Passing& passing) {
  if (const auto error = fault()) return std::unexpected(*error);
  held.erase(passing);
  return {};
}

Result<int> SimulatedQueues::detour(int link) {
  if (const auto error = fault()) return std::unexpected(*error);
  const auto found = detours.find(link);
  return found == detours.end() ? 0 : found->second;
}

Result<void> SimulatedQueues::lead(int link) {
  if (const auto error = fault()) return std::unexpected(*error);
  const auto found = held.find({link, Passage::kIn});
  if (found == held.end()) return fail(ErrorCode::kNotFound, "no relay {}", relay_name(link));
  detours.insert_or_assign(link, found->second.holder);
  return {};
}

Result<void> SimulatedQueues::release(int link) {
  if (const auto error = fault()) return std::unexpected(*error);
  detours.erase(link);
  return {};
}

}  // namespace ocicat::kernel
