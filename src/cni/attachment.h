// A container's interface: whose it is, what it is called everywhere, and how far it has come.
//
// The agent keeps one for each in a file before it makes anything, and until everything is gone again, so
// that whatever dies in between, the next agent knows what to take back.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include <array>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/mac.h"
#include "base/result.h"
#include "cni/call.h"
#include "resources/kinds.h"

namespace ocicat::cni {

// Of a container, by which its pod is known.
inline constexpr std::string_view kFirstInterface = "eth0";

struct Attachment {
  enum class Phase : std::uint8_t {
    kAdding,    // parts of it may be there
    kAdded,     // all of it is, and the runtime was told so
    kDeleting,  // nobody wants it; parts of it may still be there
  };

  Phase phase = Phase::kAdding;
  std::string container_id;
  std::string ifname;
  std::string network;
  std::string ns;                // of the endpoint
  std::string pod;               // of an orchestrator's; empty: a container of nobody's
  std::string host_interface;    // "cali12345678901"
  std::string handle;            // under which it has its addresses
  ResourceKey endpoint;          // its WorkloadEndpoint or Pod
  bool addresses_alone = false;  // another plugin wires it: no interface and no endpoint of ours
  std::string address_plugin;    // which gave its addresses; empty: they are from pools, or nobody's
  std::string
      boot;  // of the kernel that it was made in; of another one nothing is left but documents. Empty: only
             // its names are known, and not whether a Pod is its endpoint

  // Since kAdded.
  std::string netns;
  std::vector<IpAddress> addresses;
  MacAddress mac;  // in the container
  std::uint32_t mtu = 0;
  bool follows_mtu = false;  // its MTU is the host's and becomes another with it; else the configuration's
  // Of its default routes, IPv4 first, as where another interface has that of the main table; 0: this is it.
  std::array<std::uint32_t, 2> default_tables{};
  std::vector<Prefix> destinations;  // of its routes; empty: everything
  boost::json::object dns;
  // Of one with addresses alone, beside each: the net that it is in, and the host's own address there.
  struct Net {
    std::uint8_t length = 0;
    IpAddress gateway;

    bool operator==(const Net&) const = default;
  };
  std::vector<Net> nets;
  boost::json::array routes;  // handed through

  std::string name() const { return container_id + "@" + ifname; }  // as Call::attachment()
  bool operator==(const Attachment&) const = default;
};

// Names alone: what the call is about, and what it will be called. Its endpoint is a WorkloadEndpoint.
//   pods          host interface and endpoint as Calico's for eth0; another interface of a pod has its own
//   other         endpoint in the namespace "default", named after the container
Attachment attachment_of(const Call& call, const std::string& node);
// What documents call a network or an interface, whose name may be none for documents (capitals, "_", "-" at an end):
// the name, or what can be read of it and a digest. What documents call it is called so again.
std::string documented(std::string_view name);
// Likewise a container, whose name in documents has no dot either (validation.md, containerID), and leaves room in an
// endpoint's name.
std::string documented_container(std::string_view id);
// Under which a container has its addresses of a network, an interface other than eth0 its own. A network's capitals
// stay, as the name of a handle's document is in lower case.
std::string handle_name(const std::string& network, const std::string& container_id,
                        const std::string& ifname);

boost::json::object to_json(const Attachment& attachment);
Result<Attachment> read_attachment(std::string_view text);

// The result of ADD, in the form of a version: both ends of the pair, addresses, and the routes in the
// container. Of addresses alone: these, with their nets and gateways.
boost::json::object result_of(const Attachment& attachment, Version version);
// Behind what plugins before this one in the chain have made (chained_result), which stays as it is.
boost::json::object behind(boost::json::object previous, boost::json::object own);

}  // namespace ocicat::cni
