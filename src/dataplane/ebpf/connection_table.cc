#include "dataplane/ebpf/connection_table.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <ctime>

namespace ocicat::dataplane::ebpf {
namespace {

using kernel::bpf::Bytes;
using kernel::bpf::bytes_of;
using kernel::bpf::MappedArray;

constexpr std::int64_t kSecond = 1'000'000'000;  // ns
constexpr int kMostAttempts = 16;                // programs on other processors may take a place first

std::uint32_t version_of(const bpf::tracked& there) {
  return __atomic_load_n(&there.version, __ATOMIC_ACQUIRE);
}

bool is_same(const bpf::connection_key& a, const bpf::connection_key& b) {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

template <class T>
void store(T& place, T value) {
  __atomic_store_n(&place, value, __ATOMIC_RELEASE);
}

}  // namespace

std::uint32_t ticks_now() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  const auto nanoseconds =
      static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
  return static_cast<std::uint32_t>(nanoseconds >> bpf::TICK_SHIFT);
}

std::int64_t seconds_left(const bpf::connection& connection, std::uint8_t protocol, std::uint32_t now,
                          const bpf::timeouts& timeouts) {
  if (bpf::is_over(&connection, protocol, now, &timeouts)) return 0;
  const auto idle = std::max(static_cast<std::int32_t>(now - connection.seen), 0);
  const auto left = static_cast<std::int64_t>(bpf::timeout_of(&connection, protocol, &timeouts)) - idle;
  return std::max<std::int64_t>(((left << bpf::TICK_SHIFT) + kSecond / 2) / kSecond, 1);
}

bpf::timeouts timeouts_of(const HostSettings::Timeouts& timeouts) {
  const auto ticks = [](std::chrono::milliseconds time) {
    const auto most = std::chrono::nanoseconds(std::min(time, HostSettings::Timeouts::kLongest)).count();
    return static_cast<std::uint32_t>(most >> bpf::TICK_SHIFT);
  };
  bpf::timeouts result{};
  result.of[bpf::TIMEOUT_TCP_OPENING] = ticks(timeouts.tcp_opening);
  result.of[bpf::TIMEOUT_TCP] = ticks(timeouts.tcp);
  result.of[bpf::TIMEOUT_TCP_ENDED] = ticks(timeouts.tcp_ended);
  result.of[bpf::TIMEOUT_TCP_RESET] = ticks(timeouts.tcp_reset);
  result.of[bpf::TIMEOUT_UDP] = ticks(timeouts.udp);
  result.of[bpf::TIMEOUT_ICMP] = ticks(timeouts.icmp);
  result.of[bpf::TIMEOUT_OTHERS] = ticks(timeouts.others);
  return result;
}

// A place that has it, is free, or has one that is over; nullptr: there is none.
bpf::tracked* ConnectionTable::place_for(const bpf::connection_key& key, std::uint32_t now) const {
  const auto places = memory_->as<bpf::tracked>();
  const auto which = bpf::places_of(&key, beside_->secret);
  bpf::tracked* over = nullptr;
  for (std::uint32_t i = 0; i < bpf::CONNECTION_WAYS; ++i) {
    auto& there = places[bpf::place_in(which, i)];
    const auto version = version_of(there);
    if (version == 0 || (is_same(there.key, key) && (version & 1) == 0)) return &there;
    if (over == nullptr && seconds_left(there.connection, there.key.protocol, now, *beside_->timeouts) <= 0)
      over = &there;
  }
  return over;
}

// When it was judged comes last: whoever sees that it stands sees what it is. False: meanwhile it has become
// another's place, whose connection has to begin anew.
bool ConnectionTable::rewrite(bpf::tracked& place, std::uint32_t version, const bpf::connection& value,
                              std::uint32_t now) {
  auto& there = place.connection;
  add_to(holder_of(place.key, there), -1);
  add_to(holder_of(place.key, value), 1);
  for (int end = 0; end < 2; ++end) store(there.endpoint[end], value.endpoint[end]);
  for (int end = 0; end < 2; ++end) store(there.tcp[end], value.tcp[end]);
  store(there.flags, value.flags);
  store(there.workload, value.workload);
  store(there.seen, value.seen);
  for (int end = 0; end < 2; ++end) store(place.road.asked[end], 0U);
  store(there.judged, value.judged);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (version_of(place) == version) return true;
  store(there.seen, bpf::long_before_now(now));
  return false;
}

// False: somebody else has been faster.
bool ConnectionTable::occupy(bpf::tracked& there, std::uint32_t version, const bpf::connection_key& key,
                             const bpf::connection& value) {
  if (!__atomic_compare_exchange_n(&there.version, &version, version | 1, false, __ATOMIC_ACQ_REL,
                                   __ATOMIC_ACQUIRE)) {
    return false;
  }
  add_to(holder_of(key, value), 1);
  if (version != 0) add_to(holder_of(there.key, there.connection), -1);
  there.key = key;
  there.connection = value;
  there.road = {};
  version += 2;
  store(there.version, version == 0 ? 2U : version);
  return true;
}

bpf::holder ConnectionTable::holder_of(const bpf::connection_key& key,
                                       const bpf::connection& connection) const {
  return bpf::holder_of(&key, &connection, beside_->secret);
}

void ConnectionTable::add_to(const bpf::holder& holder, std::int32_t places) {
  __atomic_fetch_add(&beside_->holders->owner[holder.owner], places, __ATOMIC_RELAXED);
  __atomic_fetch_add(&beside_->holders->beginner[holder.beginner], places, __ATOMIC_RELAXED);
}

Result<void> ConnectionTable::put(Bytes key_bytes, Bytes value_bytes) {
  CHECK(beside_);
  bpf::connection_key key{};
  bpf::connection value{};
  CHECK(key_bytes.size() == sizeof key && value_bytes.size() == sizeof value);
  std::memcpy(&key, key_bytes.data(), sizeof key);
  std::memcpy(&value, value_bytes.data(), sizeof value);
  if (!memory_) {
    TRY(memory_, MappedArray::of(map_));
  }
  for (int attempt = 0; attempt < kMostAttempts; ++attempt) {
    const auto now = ticks_now();
    auto* there = place_for(key, now);
    if (there == nullptr) break;
    const auto version = version_of(*there);
    if ((version & 1) != 0) continue;
    const bool is_there = version != 0 && is_same(there->key, key);
    if (is_there ? rewrite(*there, version, value, now) : occupy(*there, version, key, value)) return {};
  }
  return fail(ErrorCode::kExhausted, "no place for another connection");
}

Result<void> ConnectionTable::remove(Bytes) {
  return fail(ErrorCode::kUnsupported, "connections end by themselves");
}

Result<void> ConnectionTable::forget_ways() {
  TRY(const auto memory, MappedArray::of(map_));
  for (auto& there : memory.as<bpf::tracked>()) {
    if (version_of(there) == 0 || there.key.at_host != 0) continue;
    for (auto& endpoint : there.connection.endpoint) {
      auto way = __atomic_load_n(&endpoint, __ATOMIC_RELAXED);
      if ((way & END_OUTSIDE) != 0)
        __atomic_compare_exchange_n(&endpoint, &way, std::uint16_t{0}, false, __ATOMIC_RELEASE,
                                    __ATOMIC_RELAXED);
    }
  }
  return {};
}

Result<void> ConnectionTable::for_each(const std::function<void(Bytes, Bytes)>& visit) {
  TRY(const auto memory, MappedArray::of(map_));
  for (const auto& there : memory.as<bpf::tracked>()) {
    const auto version = version_of(there);
    if (version == 0 || (version & 1) != 0) continue;
    const auto key = there.key;
    const auto value = there.connection;
    std::atomic_thread_fence(std::memory_order_acquire);
    if (version_of(there) == version) visit(bytes_of(key), bytes_of(value));
  }
  return {};
}

}  // namespace ocicat::dataplane::ebpf
