// Hears what reaches a testbed's host itself, past all filtering.
#pragma once

#include <functional>
#include <set>
#include <vector>

#include "base/unique_fd.h"
#include "netns/testbed.h"

namespace ocicat::test {

class HostEar {
 public:
  // Listens in the host's namespace to the protocols that the test's packets have.
  HostEar(const Testbed& bed, Family family);

  // Which of the packets, sent at `from`, the host gets. `sure` sends what is known to reach the host, on the
  // same processor after them, and so tells when all have come that will.
  std::set<std::uint32_t> arriving(const Station& from, const Station& sure,
                                   const std::vector<RawPacket>& packets) const;
  // All that the host gets of what is sent meanwhile.
  std::set<std::uint32_t> arriving(const Station& sure, const std::function<void()>& send) const;

 private:
  // Tokens of packets that have come since the last call.
  std::set<std::uint32_t> received() const;

  const Testbed& bed_;
  Family family_;
  std::vector<UniqueFd> sockets_;
};

}  // namespace ocicat::test
