// Gives addresses to workloads and hosts, and takes them back, over the API.
//
// Any number of allocators work at once, in any number of processes; each may die at any point. What they
// share is the documents, each written against the revision that it was read at. Then, whatever happens:
//
//   - an address has one owner: it is given by writing its block, and of two writes of one revision one wins
//   - no address is lost: before an address is given under a handle, the handle's document says in which
//     block; so release() of the handle finds it, whoever calls it
//   - a handle has what assign() said and no more, also where an answer was lost and a write came late
//   - after release() has returned, no write of an assign() of that handle that is still on its way counts
//
// An address is given once assign() says so. After an error there may be addresses under the handle (the
// answer to a write was lost): release() it.
//
//   cost     one write a handle and one a block, for all that is asked for together; a new block costs three
//   design   docs/design/ipam.md
#pragma once

#include <functional>
#include <map>
#include <random>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time_text.h"
#include "ipam/documents.h"
#include "network/pool_choice.h"
#include "resources/ipam.h"
#include "resources/types.h"

namespace ocicat::ipam {

struct AssignRequest {
  std::string host;    // whose blocks; also for whom pools are chosen (nodeSelector)
  std::string handle;  // under which the addresses are found again: "k8s-pod-network.CONTAINER"; unique to
                       // what has them
  Labels attributes;   // what is noted beside them: "pod", "namespace", "type" …; "node" (the host) and
                       // "timestamp" (now) where they are not given
  int ipv4 = 0;        // how many
  int ipv6 = 0;
  network::PoolNames pools;          // of a family none: those that select host and namespace
  std::vector<IpAddress> addresses;  // these, besides; each must be in a pool that is in use
  std::string ns;                    // for namespaceSelector; empty: in no namespace
  PoolUse use = PoolUse::kWorkload;  // kLoadBalancer: from blocks of all hosts together
};

struct Assigned {
  struct Item {
    IpAddress address;
    Prefix block;
    std::string pool;
    std::int64_t sequence = 0;  // tells this giving from others of the address; for releasing it alone

    bool operator==(const Item&) const = default;
  };
  std::vector<Item> items;  // first those asked for by address, in that order; then IPv4; then IPv6
};

struct Released {
  std::vector<IpAddress> addresses;  // that were given under the handle; none: there was nothing
};

class Allocator {
 public:
  struct Options {
    std::function<TimePoint()> now = [] { return std::chrono::system_clock::now(); };
    std::uint32_t seed = std::random_device{}();  // for the order in which others' blocks are tried
  };

  // Borrows `documents`. For one thread at a time; GroupAllocator is for many.
  explicit Allocator(Documents& documents) : Allocator(documents, Options{}) {}
  Allocator(Documents& documents, Options options);

  // All of what a request asks for, or nothing. The answers stand in the order of the requests; no two of
  // them may have one handle. Errors:
  //   kInvalid        the request asks for nothing, or names an address that is in no pool
  //   kNotFound       it names a pool that is not there
  //   kExhausted      no address is left, or the host has all the blocks it may have; says of which pools
  //   kAlreadyExists  an address it names is given already
  //   kConflict       others were faster, a hundred times
  //   kUnavailable    the server is away; there may be addresses under the handle
  std::vector<Result<Assigned>> assign(std::span<const AssignRequest> requests);
  Result<Assigned> assign(const AssignRequest& request);

  // Everything that was given under a handle, wherever. A handle that is not there is no error.
  std::vector<Result<Released>> release(std::span<const std::string> handles);
  Result<Released> release(const std::string& handle);

  // Has the documents of handles say what is there, where they say too much: after a crash, a lost answer, or
  // the release of single addresses. Releases nothing, whatever has been given meanwhile.
  std::vector<Result<void>> correct(std::span<const std::string> handles);

 private:
  friend class Assignment;

  std::vector<Result<Released>> go_through(std::span<const std::string> handles, bool release);

  Documents& documents_;
  Options options_;
  std::mt19937 random_;
  // Blocks of the hosts asked for, as last seen; a stale one costs a conflict and no more.
  std::map<Prefix, Stored<IpamBlock>> blocks_;
  std::set<BlockOwner> known_owners_;  // whose blocks have been listed once
};

}  // namespace ocicat::ipam
