// Links and routes of a network namespace, as far as a dataplane needs them.
//
//   scope    the main table; only routes that carry one protocol number are listed or removed
//   source   linux/rtnetlink.h; rtnetlink(7)
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "kernel/netlink.h"

namespace ocicat::kernel {

struct Link {
  int index = 0;
  std::string name;
  bool up = false;
  std::vector<IpAddress> addresses{};  // the host's own there, ascending
  bool ethernet = false;               // carries Ethernet frames; the loopback does not count
  int master = 0;                      // the bridge, bond or VRF that it is part of
  bool peer_elsewhere = false;         // one end of a pair whose other end is in another network namespace
  std::uint32_t mtu = 0;
  bool bare = false;  // carries packets without a frame's header: IPIP's tunnel, WireGuard, PPP, a TUN device
  bool vrf = false;   // is one, with routes of its own
  bool in_vrf = false;  // its master is one

  bool operator==(const Link&) const = default;
};

// What a message of type RTM_NEWLINK says; without addresses.
Link link_of(MessageView message);

// Links that may have come, gone or changed: all, or some by index, no more than there are.
struct LinkDoubts {
  bool all = false;
  std::set<int> some{};

  bool any() const { return all || !some.empty(); }
  // An index that is no link's stands for all.
  void add(int index) { add(index > 0 ? LinkDoubts{.some = {index}} : LinkDoubts{.all = true}); }
  void add(const LinkDoubts& others) {
    all |= others.all;
    some.insert(others.some.begin(), others.some.end());
    if (all) some.clear();
  }
};

// A route as the kernel has it.
struct KernelRoute {
  Prefix destination;
  int link = 0;
  std::optional<IpAddress> gateway{};  // taken to be on the link
  std::uint32_t metric = 0;
  bool blackhole = false;    // leads nowhere: packets are dropped; without link and gateway
  bool unreachable = false;  // likewise, and who sends is told
  // The next hop object that says link and gateway; 0: the route says them itself.
  std::uint32_t object = 0;

  auto operator<=>(const KernelRoute&) const = default;
};

// A next hop object: a way that routes refer to by its number. The kernel then knows it by that, where it
// compares the way of any other new route with those of all by the same link (fib_find_info). Numbers are one
// space for all programs.
struct HopObject {
  std::uint32_t number = 0;
  int link = 0;         // 0: it is none of a link and a gateway
  IpAddress gateway{};  // taken to be on the link

  auto operator<=>(const HopObject&) const = default;
};

struct NextHop {
  int link = 0;
  std::optional<IpAddress> gateway;  // nothing: the address itself is on the link

  bool operator==(const NextHop&) const = default;
};

struct RouteFailure {
  KernelRoute route;
  Error error;
};

struct HopFailure {
  HopObject hop;
  Error error;
};

class RouteKernel {
 public:
  virtual ~RouteKernel() = default;

  virtual Result<std::vector<Link>> links() = 0;
  // Those of these that there are. Each costs two calls, however many links there are.
  virtual Result<std::vector<Link>> links(const std::set<int>& indexes) = 0;
  // Indexes of links at which somebody has set up traffic control: limits, filters but ours, actions.
  virtual Result<std::set<int>> controlled() = 0;
  virtual Result<std::vector<KernelRoute>> routes(int protocol) = 0;
  // Adds beside what is there, or removes exactly that one. What failed; adding one that is there, or
  // removing one that is not, has not failed. For IPv6 the kernel holds one route of the same destination,
  // metric and way, of whatever protocol: where that is another's, adding fails with kAlreadyExists.
  virtual Result<std::vector<RouteFailure>> add(int protocol, const std::vector<KernelRoute>& routes) = 0;
  virtual Result<std::vector<RouteFailure>> remove(int protocol, const std::vector<KernelRoute>& routes) = 0;
  // Next hop objects that carry the protocol number.
  virtual Result<std::vector<HopObject>> hops(int protocol) = 0;
  // What failed; kAlreadyExists: an object has that number, whosever. One that is removed takes all routes by it
  // along; removing one that is not there has not failed.
  virtual Result<std::vector<HopFailure>> add(int protocol, const std::vector<HopObject>& hops) = 0;
  virtual Result<std::vector<HopFailure>> remove(const std::vector<HopObject>& hops) = 0;
  // Numbers of the objects that others use, whosever they are: routes that are not of the protocol and the main table, and
  // groups of another protocol. Costs a dump of all routes there are.
  virtual Result<std::set<std::uint32_t>> hops_others_use(int protocol) = 0;
  // How the kernel itself would reach the address. kNotFound: it would not.
  virtual Result<NextHop> next_hop(const IpAddress& address) = 0;
  // Sets "net/ipv4/conf/…" under /proc/sys; whether that changed it. kNotFound: there is no such setting.
  virtual Result<bool> set(const std::string& setting, const std::string& value) = 0;
};

class NetlinkRoutes final : public RouteKernel {
 public:
  static Result<std::unique_ptr<NetlinkRoutes>> open();
  explicit NetlinkRoutes(NetlinkSocket socket) : socket_(std::move(socket)) {}

  Result<std::vector<Link>> links() override;
  Result<std::vector<Link>> links(const std::set<int>& indexes) override;
  Result<std::set<int>> controlled() override;
  Result<std::vector<KernelRoute>> routes(int protocol) override;
  Result<std::vector<RouteFailure>> add(int protocol, const std::vector<KernelRoute>& routes) override;
  Result<std::vector<RouteFailure>> remove(int protocol, const std::vector<KernelRoute>& routes) override;
  Result<std::vector<HopObject>> hops(int protocol) override;
  Result<std::vector<HopFailure>> add(int protocol, const std::vector<HopObject>& hops) override;
  Result<std::vector<HopFailure>> remove(const std::vector<HopObject>& hops) override;
  Result<std::set<std::uint32_t>> hops_others_use(int protocol) override;
  Result<NextHop> next_hop(const IpAddress& address) override;
  Result<bool> set(const std::string& setting, const std::string& value) override;

  std::uint32_t port() const { return socket_.port(); }

 private:
  // Sends a message for each of so many, and gives those that were refused, by their place.
  using Put = std::function<void(MessageBuilder& builder, std::uint32_t sequence, std::size_t place)>;
  struct Refused {
    std::size_t place = 0;
    Acknowledgement why;
  };
  Result<std::vector<Refused>> send_each(std::size_t count, int harmless, const Put& put);
  Result<std::vector<RouteFailure>> change(std::uint16_t message, std::uint16_t flags, int protocol,
                                           const std::vector<KernelRoute>& routes);

  NetlinkSocket socket_;
};

// Hears of links that come, go, rise and fall, of addresses and traffic control, and of others' changes to
// routes and next hop objects.
class RouteMonitor {
 public:
  static Result<RouteMonitor> open(std::uint32_t own_port);

  int fd() const { return socket_.fd(); }
  struct Events {
    LinkDoubts links{};  // a link, an address of one, or traffic control there
    bool own = false;    // a route or an object that carries `protocol`
    // Numbers of all other objects that have come, changed or gone, and of those that others have begun to use, or do
    // no longer.
    std::vector<std::uint32_t> hops{};
    bool others = false;            // any other route of the main table
    std::vector<Prefix> vacated{};  // destinations that one of those has left
  };
  // Reads what has arrived. Messages that were lost count as everything.
  Result<Events> read(int protocol);

 private:
  explicit RouteMonitor(NetlinkSocket socket) : socket_(std::move(socket)) {}

  NetlinkSocket socket_;
};

}  // namespace ocicat::kernel
