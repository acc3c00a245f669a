// A step from one batch to the next, written so that every packet sees the one or the other.
//
// Programs read one side of every pair, that of the parity of the host's batch number. A step writes the
// other side, shows it by a single write of that number, and makes both sides equal again. A judgement that
// began before a batch came to show begins anew, so what the step leaves behind may then be removed; what is
// removed may be used again by later steps, whose batch a judgement that still holds it does not have either.
//
//   errors   before it shows, nothing has changed for packets; after that, everything has
//   design   docs/design/ebpf.md#batches
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <type_traits>
#include <vector>

#include "base/result.h"
#include "maps/host.h"

namespace ocicat::dataplane::ebpf {

class Step {
 public:
  // Borrows the host's value.
  explicit Step(bpf::host& host) : host_(host), batch_(host.batch) {}

  std::size_t now() const { return batch_ & 1; }
  std::size_t next() const { return ~batch_ & 1; }
  // As connections and endpoints note it.
  std::uint32_t coming() const { return static_cast<std::uint32_t>(batch_ + 1); }

  // What the pair is to say. Whether that is something new.
  template <class T>
  bool set(T (&pair)[2], const T& wanted) {
    static_assert(std::has_unique_object_representations_v<T>);
    const bool changes = std::memcmp(&pair[now()], &wanted, sizeof wanted) != 0;
    if (std::memcmp(&pair[next()], &wanted, sizeof wanted) != 0) write(pair[next()], wanted);
    if (changes) stale_.push_back({&pair[now()], &pair[next()], sizeof wanted});
    return changes;
  }

  // For what nothing leads to yet, and what may be seen at once. Words are written whole.
  template <class T>
  void write(T& place, const std::type_identity_t<T>& value) {
    if constexpr (sizeof(T) == 4 || sizeof(T) == 8) {
      static_assert(alignof(T) == sizeof(T));
      T copy = value;
      __atomic_store(&place, &copy, __ATOMIC_RELEASE);
    } else {
      std::memcpy(&place, &value, sizeof value);
    }
    ++writes_;
  }

  // Runs once the step shows, in the order given.
  void afterwards(std::function<Result<void>()> work) { afterwards_.push_back(std::move(work)); }
  void count_write() { ++writes_; }

  // Shows the batch even where no pair says anything new: somebody is told of it as coming().
  void show() { shows_ = true; }

  bool shows_something() const { return shows_ || !stale_.empty() || !afterwards_.empty(); }
  // Nothing to show: nothing is written.
  Result<void> finish();
  std::uint64_t writes() const { return writes_; }

 private:
  struct Stale {
    void* place;
    const void* fresh;
    std::size_t size;
  };

  bpf::host& host_;
  decltype(bpf::host::batch) batch_;
  std::uint64_t writes_ = 0;
  bool shows_ = false;
  std::vector<Stale> stale_;
  std::vector<std::function<Result<void>()>> afterwards_;
};

}  // namespace ocicat::dataplane::ebpf
