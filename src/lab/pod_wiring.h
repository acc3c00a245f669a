// How pods are wired: by ocicat-cni, as a container runtime calls it.
#pragma once

#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "lab/layout.h"
#include "lab/state.h"
#include "resources/metadata.h"

namespace ocicat::lab {

// A name as a container runtime gives one to each container: never the same twice.
std::string new_container_name();

// What the file in /etc/cni/net.d of a pod's host would say, and what the runtime says of the pod.
std::string network_configuration(const Layout& layout, const PodRecord& pod, const Labels& labels);

// ADD, with the plugin beside the program of the lab. The addresses that the pod then has: those it asks for,
// and of a family of which it asks for none, one that is free.
Result<std::vector<IpAddress>> attach(const Layout& layout, const LabRecord& lab, const PodRecord& pod,
                                      const Labels& labels);
// DEL. Succeeds also where the host's agent is away: it takes back what is left when it comes.
Result<void> detach(const Layout& layout, const LabRecord& lab, const PodRecord& pod);
// Under which address management keeps the pod's addresses.
std::string handle_of(const PodRecord& pod);

}  // namespace ocicat::lab
