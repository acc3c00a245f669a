// The next hop objects of ours: one for each way into a tunnel that routes lead. Pure.
//
//   numbers   from kFirstHop on, upward. One that somebody else has is refused by the kernel, and the next is
//             tried: next() never gives a number twice before it has given all
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>

#include <cstdint>
#include <utility>
#include <vector>

#include "base/ip.h"
#include "kernel/routes.h"

namespace ocicat::dataplane {

// Far from those that the kernel gives by itself, which begin at 1, and from FRR's.
inline constexpr std::uint32_t kFirstHop = 0x0c1c0000;

class HopTable {
 public:
  // All that carry our protocol number.
  void learn(const std::vector<kernel::HopObject>& there);
  void add(const kernel::HopObject& hop);
  void remove(const kernel::HopObject& hop);

  // nullptr: none of ours has that number.
  const kernel::HopObject* find(std::uint32_t number) const;
  // The number of the object that leads this way; 0: there is none.
  std::uint32_t leading(int link, const IpAddress& gateway) const;
  // One that is to lead this way.
  kernel::HopObject next(int link, const IpAddress& gateway);

 private:
  using Way = std::pair<int, IpAddress>;
  boost::unordered_flat_map<std::uint32_t, kernel::HopObject> hops_;  // by number
  boost::unordered_flat_map<Way, std::uint32_t> by_way_;
  std::uint32_t next_ = kFirstHop;
};

}  // namespace ocicat::dataplane
