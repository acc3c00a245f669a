// What an agent sees to at the Node of its own host.
//
//   Node      made where there is none, with the addresses by which the host is known; one that is there is
//             somebody's, and stays as it is but for this:
//   tunnels   where pools want a tunnel and the host has an address of the family, its end has an address of
//             such a pool, which the Node tells all other hosts. It stays until its pool has gone: a pool that
//             no longer asks may do so again, under traffic
//   by hand   an address that lies in no pool is somebody's own affair
//   crash     an address is given before the Node says it, and taken back after a write of the Node that took
//             it out, so that no write still on its way can tell it afterwards. What is given and not said
//             is found by its handle at the next look, kept from a release still on its way, and said
//   source    semantics.md 5
//   design    docs/design/ipam.md
#pragma once

#include <boost/json/object.hpp>

#include <functional>
#include <optional>
#include <string>

#include "base/result.h"
#include "ipam/allocator.h"
#include "ipam/documents.h"

namespace ocicat::agent {

class OwnNode {
 public:
  // The address by which the host is known in a family, with the length of its subnet; nothing: it has none.
  using Detect = std::function<std::optional<Prefix>(Family)>;

  // Borrows `documents`. For one thread.
  OwnNode(std::string name, ipam::Documents& documents, Detect detect)
      : name_(std::move(name)), documents_(documents), allocator_(documents), detect_(std::move(detect)) {}

  // Looks at Node and pools, and puts right what is not so. One tunnel that cannot have an address keeps no
  // other from having its own. Errors: kUnavailable and kConflict, to be tried again; kExhausted where no
  // pool has an address for a tunnel, which it names.
  Result<void> settle();

 private:
  struct Look;

  // Whether that was all; else something is to be looked at again.
  Result<bool> look();
  Result<std::optional<boost::json::object>> find_or_make();

  std::string name_;
  ipam::Documents& documents_;
  ipam::Allocator allocator_;
  Detect detect_;
  bool found_ = false;  // there has been a Node: whoever deletes it means it
};

}  // namespace ocicat::agent
