// Copies of routes that a program has left: the same ways, also where a route has several (ECMP), with a protocol number
// and a metric of their own, by which they are known again.
//
//   scope    the main table of the network namespace of the calling thread; both families
//   source   linux/rtnetlink.h; rtnetlink(7)
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "base/ip.h"
#include "base/result.h"
#include "kernel/netlink.h"

namespace ocicat::kernel {

class RouteCopies {
 public:
  static Result<RouteCopies> open(int protocol, std::uint32_t metric);

  // Copies the routes by gateways that carry the protocol number `original`; what is there already stays.
  Result<void> make(int original);
  // Takes away the copies to the destinations that are `unwanted`. How many are left.
  Result<std::size_t> drop(const std::function<bool(const Prefix&)>& unwanted);

 private:
  struct Found;

  RouteCopies(NetlinkSocket socket, int protocol, std::uint32_t metric)
      : socket_(std::move(socket)), protocol_(protocol), metric_(metric) {}

  Result<std::vector<Found>> find(int protocol);
  Result<void> change(std::uint16_t message, std::uint16_t flags, int harmless,
                      const std::vector<Found>& routes);

  NetlinkSocket socket_;
  int protocol_;
  std::uint32_t metric_;
};

}  // namespace ocicat::kernel
