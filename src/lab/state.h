// What a lab remembers between commands: its hosts and its pods, one small JSON file each.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "lab/layout.h"
#include "lab/ports.h"
#include "resources/types.h"

namespace ocicat::lab {

// Plain routes; routes that BIRD on every host tells the others; VXLAN always; VXLAN between racks.
inline const std::vector<std::string> kNetworks{
    "plain", "bgp", "vxlan", "vxlan-cross-subnet", "ipip", "ipip-cross-subnet"};

struct LabRecord {
  int hosts = 0;
  int racks = 1;                  // hosts of a rack share a subnet
  std::string network = "plain";  // how pods of different hosts reach each other: see kNetworks
  std::string dataplane = "auto";
  std::string program;  // the ocicat that runs here

  std::vector<std::string> host_names() const;           // "host1", …
  Result<void> check_host(std::string_view host) const;  // kNotFound, naming the hosts there are

  bool operator==(const LabRecord&) const = default;
};

struct PodRecord {
  std::string ns;
  std::string name;
  std::string host;
  std::string service_account;
  std::vector<IpAddress> addresses;  // before it is wired: those asked for
  std::vector<NamedPort> listens;
  std::vector<IpAddress> floating = {};  // under which it is reached besides
  std::string container;  // what the container runtime would call it; another one wherever it is wired anew

  std::string full_name() const { return ns + "/" + name; }
  bool operator==(const PodRecord&) const = default;
};

// "shop/frontend" → {"shop", "frontend"}; both must be DNS labels.
Result<std::pair<std::string, std::string>> split_pod_name(std::string_view text);

// kNotFound, saying how to begin, where there is no such lab.
Result<LabRecord> read_lab(const Layout& layout);
Result<void> write_lab(const Layout& layout, const LabRecord& lab);

std::vector<PodRecord> read_pods(const Layout& layout);  // by namespace and name
Result<PodRecord> read_pod(const Layout& layout, std::string_view ns, std::string_view name);
Result<void> write_pod(const Layout& layout, const PodRecord& pod);  // replaces the file as a whole
void remove_pod(const Layout& layout, std::string_view ns, std::string_view name);

// Held while a pod's record is made, so that two commands never make the same.
Result<UniqueFd> lock(const Layout& layout);
// 0, 1, 2, …: never the same number twice in a lab.
Result<std::uint32_t> next_probe_number(const Layout& layout);

}  // namespace ocicat::lab
