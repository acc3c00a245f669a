// The addresses of a container: what is asked for them, and containers that get nothing else, as another
// plugin wires them (SPEC.md, section 4: IPAM plugins).
//
// Such a container's address has the length of its block, and a gateway there: one address of each block that
// a host's containers have is the host's own, for bridges and the host's ends of pairs. It is given once,
// under a handle of the host and the block, and stays for as long as there is the host.
#pragma once

#include <boost/json/object.hpp>

#include <optional>

#include "cni/attachment.h"
#include "cni/configuration.h"
#include "cni/service/context.h"
#include "cni/wishes.h"
#include "ipam/allocator.h"

namespace ocicat::cni {

// What the server says of a workload.
struct Known {
  std::optional<boost::json::object> pod;
  Labels pod_annotations;
  Labels namespace_annotations;
};
// Nothing where it is not there.
Result<std::optional<boost::json::object>> if_there(Result<boost::json::object> answer);
Result<Known> ask(ipam::Documents& documents, const Attachment& attachment,
                  const Configuration& configuration);

ipam::AssignRequest request_of(const Context& context, const Attachment& attachment, const Wishes& wishes);
// Where no address is left, STATUS is to look from now on.
Failure no_address(Context& context, const Error& error);

// ADD and CHECK of addresses alone. Idempotent; what fails leaves nothing, or an attachment that is taken
// back later. Codes: 2, 4, 7, 11, 100, 101, and 102 of CHECK.
Outcome<Attachment> add_addresses(Context& context, const Call& call);
Outcome<void> check_addresses(Context& context, const Call& call);

}  // namespace ocicat::cni
