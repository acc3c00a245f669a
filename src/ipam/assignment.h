// One batch of requests, on its way: which addresses were picked for whom, and how far they are.
//
//   pick      from the blocks known, then from more blocks: all listed, a new one claimed, others' ones
//   announce  in the documents of the handles
//   write     the blocks; what was picked in one that somebody else wrote first is picked anew
//
// and again, until every request has all or has failed. In the end documents of handles say no more than there
// is: what was picked anew was announced anew, since whoever wrote the block first may have released the handle,
// and then its document is gone or about to go.
#pragma once

#include <array>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "ipam/allocator.h"
#include "ipam/block_edits.h"
#include "ipam/claims.h"
#include "ipam/handles.h"
#include "ipam/settings.h"
#include "network/ipam_block.h"

namespace ocicat::ipam {

class Assignment {
 public:
  Assignment(Allocator& allocator, std::span<const AssignRequest> requests);

  std::vector<Result<Assigned>> run();

 private:
  struct Pick {
    Prefix block;
    network::Given given;
    std::string pool;
    bool written = false;
  };
  struct Job {
    const AssignRequest* request = nullptr;
    BlockOwner owner;
    network::Grant grant;
    std::array<std::vector<const IpPool*>, 2> pools;  // by family, those to choose from
    std::vector<Pick> picks;
    std::vector<Pick> doubtful;      // picked no more, though a write of them may come yet
    std::set<Prefix> announced;      // blocks that the document of the handle names for the sake of picks
    std::map<Prefix, int> before;    // what it says beside that, as far as is known
    std::map<Prefix, int> standing;  // of it, what counts for picks to come: announced since the block last
                                     // changed under us, when the handle may have been removed
    std::optional<Stored<IpamHandle>> handle;
    std::optional<Error> error;

    bool open() const;
  };

  Result<void> prepare();
  Result<void> choose_pools(Job& job);

  // Picks what is missing.
  Result<void> pick(Job& job);
  Result<void> pick_this(Job& job, const IpAddress& address);
  Result<void> pick_some(Job& job, Family family, std::size_t wanted);
  std::size_t pick_from(Job& job, Stored<IpamBlock>& block, const IpPool& pool, std::size_t wanted);
  std::size_t pick_from_own(Job& job, Family family, std::size_t wanted);
  std::size_t pick_from_others(Job& job, Family family, std::size_t wanted);
  void drop_unwritten(Job& job);

  // More blocks.
  Result<void> list_all();
  Result<void> tidy_up(const BlockOwner& owner);
  Result<Stored<IpamBlock>*> claim_any(Job& job, Family family);
  Result<Stored<IpamBlock>*> claim(const BlockOwner& owner, const Prefix& cidr, std::optional<int> most = {});
  Result<bool> reclaim_one(const Job& job, Family family);
  Result<void> at_limit(const Job& job, Family family) const;
  std::optional<int> stated_limit() const;

  void announce();
  void write();
  void reload(const Prefix& cidr, const Error& why);
  // Without a cool-down: nobody has used it. Nothing where the handle does not have it by this giving.
  void release_now(IpamBlock& block, const Job& job, const network::Given& given) const;
  void take_back_doubtful();
  void roll_back(Job& job);
  void lower_handles();
  void forget_others();
  static std::string names_of_pools(const Job& job, Family family);
  Error none_left(const Job& job, Family family) const;
  Assigned assigned(const Job& job) const;

  const Labels& labels_of_host(const std::string& host);
  Result<Labels> labels_of_namespace(const std::string& ns);

  Allocator& allocator_;
  Documents& documents_;
  BlockCache& blocks_;
  const TimePoint now_;
  Settings settings_;
  std::vector<Job> jobs_;
  std::map<std::string, Labels> host_labels_;
  std::map<std::string, Labels> namespace_labels_;
  bool listed_ = false;     // all blocks, in this batch
  std::set<Prefix> taken_;  // then: blocks that are there
  std::vector<Stored<BlockAffinity>> affinities_;
  std::set<BlockOwner> tidied_;
};

}  // namespace ocicat::ipam
