// Limits of bandwidth at interfaces: token buckets (tbf).
//
//   out      the interface's own queue
//   in       that of a relay, an interface of kind ifb, into which a filter at the hook (clsact or ingress,
//            behind tcx programs) leads all packets, and out of which they come where they were going
//   mark     relays have names of ours, queues a handle, filters a preference; whatever else is there is
//            neither read nor changed. The hook itself goes with the filter, where it was made for it and
//            nobody else uses it
//   source   linux/pkt_sched.h, linux/pkt_cls.h; tc-tbf(8), tc-u32(8), tc-mirred(8)
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/result.h"
#include "kernel/netlink.h"

namespace ocicat::kernel {

// Frames count with their Ethernet headers.
struct Bucket {
  std::uint64_t rate = 0;        // bytes a second
  std::uint32_t burst = 0;       // bytes; what is larger is cut into packets, or else dropped
  std::uint64_t peak = 0;        // bytes a second, at which a burst passes; 0: at once
  std::uint32_t peak_burst = 0;  // bytes that pass at once all the same
  std::uint32_t queue = 0;       // bytes that may wait

  bool operator==(const Bucket&) const = default;
};

// By what end of an interface packets pass.
enum class Passage : std::uint8_t { kIn, kOut };
inline constexpr std::array kPassages{Passage::kIn, Passage::kOut};
struct Passing {
  int link = 0;
  Passage passage = Passage::kIn;

  auto operator<=>(const Passing&) const = default;
};

// A limit of ours as it is there.
struct Limit {
  int holder = 0;             // link that has the queue: a relay, or the link itself
  bool up = false;            // what is led into it passes
  bool as_wanted = false;     // it has the bucket that was asked about
  std::uint64_t rate = 0;     // bytes a second; 0: no bucket yet
  std::uint32_t waiting = 0;  // bytes, at least
};

// "ocicat-i1f": of what comes in at link 31. Nothing: the name is none of ours.
std::string relay_name(int link);
std::optional<int> link_of_relay(std::string_view name);

class QueueKernel {
 public:
  virtual ~QueueKernel() = default;

  // All there are. `wanted`: what their buckets should be.
  virtual Result<std::map<Passing, Limit>> limits(const std::map<Passing, Bucket>& wanted) = 0;
  // Makes one with this bucket; or changes the bucket of the one that is there, and what waits in it stays.
  // kAlreadyExists: somebody else has a queue there. kUnsupported: this kernel has no such interfaces or
  // queues.
  virtual Result<void> limit(const Passing& passing, const Bucket& bucket) = 0;
  // What waits in it is lost. One that comes in must have been released before.
  virtual Result<void> remove(const Passing& passing) = 0;

  // The link that what comes in is led into; 0: nobody leads it, or there is no such link.
  virtual Result<int> detour(int link) = 0;
  // Into its relay, which is there.
  virtual Result<void> lead(int link) = 0;
  virtual Result<void> release(int link) = 0;
};

class NetlinkQueues final : public QueueKernel {
 public:
  static Result<std::unique_ptr<NetlinkQueues>> open();
  explicit NetlinkQueues(NetlinkSocket socket) : socket_(std::move(socket)) {}

  Result<std::map<Passing, Limit>> limits(const std::map<Passing, Bucket>& wanted) override;
  Result<void> limit(const Passing& passing, const Bucket& bucket) override;
  Result<void> remove(const Passing& passing) override;
  Result<int> detour(int link) override;
  Result<void> lead(int link) override;
  Result<void> release(int link) override;

 private:
  struct Filter {
    int relay = 0;
    bool made_hook = false;  // there was none before it
  };
  Result<std::optional<Filter>> filter(int link);
  Result<bool> has_filters(int link);
  Result<void> make_relay(const std::string& name);
  // Fails where the link's own queue is somebody else's.
  Result<void> check_queue(int link);
  Result<int> index_of(const std::string& name);

  NetlinkSocket socket_;
};

}  // namespace ocicat::kernel
