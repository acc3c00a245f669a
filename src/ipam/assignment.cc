#include "ipam/assignment.h"

#include <algorithm>

#include "network/address_block.h"
#include "network/pool_choice.h"
#include "resources/decode.h"
#include "resources/fields.h"

namespace ocicat::ipam {

using network::selects_host;

namespace {

constexpr std::string_view kLoadBalancer = "load-balancer";
// From claims that others for the same owner stand in the way of.
constexpr int kMostWithdrawals = 10;

std::size_t index_of(Family family) {
  return family == Family::kIpv4 ? 0 : 1;
}

BlockOwner owner_of(const AssignRequest& request) {
  if (request.use == PoolUse::kLoadBalancer) return {BlockOwner::Type::kVirtual, std::string(kLoadBalancer)};
  return {BlockOwner::Type::kHost, request.host};
}

int wanted(const AssignRequest& request, Family family) {
  return family == Family::kIpv4 ? request.ipv4 : request.ipv6;
}

bool is_named(const AssignRequest& request, const IpAddress& address) {
  return std::ranges::find(request.addresses, address) != request.addresses.end();
}

Result<void> check(const AssignRequest& request) {
  if (request.host.empty() || request.handle.empty())
    return fail(ErrorCode::kInvalid, "an assignment needs a host and a handle");
  if (request.ipv4 < 0 || request.ipv6 < 0)
    return fail(ErrorCode::kInvalid, "handle {}: a number of addresses is negative", request.handle);
  if (request.ipv4 == 0 && request.ipv6 == 0 && request.addresses.empty())
    return fail(ErrorCode::kInvalid, "handle {}: no address is asked for", request.handle);
  return {};
}

bool selects_all(const IpPool& pool) {
  return pool.node_selector.empty() || pool.node_selector == "all()";
}

}  // namespace

bool Assignment::Job::open() const {
  if (error) return false;
  const std::size_t all = static_cast<std::size_t>(request->ipv4) + static_cast<std::size_t>(request->ipv6) +
                          request->addresses.size();
  return picks.size() < all || std::ranges::any_of(picks, [](const auto& pick) { return !pick.written; });
}

Assignment::Assignment(Allocator& allocator, std::span<const AssignRequest> requests)
    : allocator_(allocator),
      documents_(allocator.documents_),
      blocks_(allocator.blocks_),
      now_(allocator.options_.now()) {
  for (const auto& request : requests) {
    auto& job = jobs_.emplace_back();
    job.request = &request;
    job.owner = owner_of(request);
    job.grant = {request.handle, request.attributes};
    job.grant.attributes.emplace("node", request.host);
    job.grant.attributes.emplace("timestamp", seconds_text(now_));
  }
}

std::vector<Result<Assigned>> Assignment::run() {
  if (auto prepared = prepare(); !prepared) {
    for (auto& job : jobs_) job.error = prepared.error();
  }
  const auto any_open = [&] { return std::ranges::any_of(jobs_, &Job::open); };
  for (int round = 0; round < kMostTries && any_open(); ++round) {
    for (auto& job : jobs_) {
      if (!job.open()) continue;
      if (auto picked = pick(job); !picked) job.error = std::move(picked).error();
      if (job.error) drop_unwritten(job);
    }
    announce();
    write();
  }
  take_back_doubtful();
  std::vector<Result<Assigned>> answers;
  for (auto& job : jobs_) {
    if (job.open())
      job.error = Error{ErrorCode::kConflict,
                        fmt::format("handle {}: others write the blocks all the time", job.grant.handle)};
    if (job.error) roll_back(job);
    answers.push_back(job.error ? Result<Assigned>(std::unexpected(*job.error)) : assigned(job));
  }
  lower_handles();
  forget_others();
  return answers;
}

Result<void> Assignment::prepare() {
  TRY(settings_, read_settings(documents_));
  for (auto& job : jobs_) {
    auto fine = check(*job.request);
    if (fine) fine = choose_pools(job);
    if (!fine) job.error = std::move(fine).error();
  }
  return {};
}

const Labels& Assignment::labels_of_host(const std::string& host) {
  const auto [at, is_new] = host_labels_.try_emplace(host);
  if (!is_new || std::ranges::all_of(settings_.pools, selects_all)) return at->second;
  const auto document = documents_.get(ResourceKey{Kind::kNode, "", host});
  const auto node = document ? decode(Kind::kNode, *document) : std::unexpected(document.error());
  if (node) at->second = std::get<Node>(*node).metadata.labels;
  return at->second;
}

// None where there is no such namespace; nothing is read where no pool asks.
Result<Labels> Assignment::labels_of_namespace(const std::string& ns) {
  const auto [at, is_new] = namespace_labels_.try_emplace(ns);
  const auto asks = [](const IpPool& pool) { return !pool.namespace_selector.empty(); };
  if (!is_new || std::ranges::none_of(settings_.pools, asks)) return at->second;
  const auto document = documents_.get(ResourceKey{Kind::kNamespace, "", ns});
  if (!document) {
    if (document.error().code == ErrorCode::kNotFound) return at->second;
    namespace_labels_.erase(at);
    return std::unexpected(document.error());
  }
  TRY(const auto* metadata, fields::object_at(*document, "metadata"));
  if (metadata != nullptr) {
    TRY(at->second, fields::labels_at(*metadata, "labels"));
  }
  return at->second;
}

Result<void> Assignment::choose_pools(Job& job) {
  const AssignRequest& request = *job.request;
  network::PoolQuery query{Family::kIpv4, request.use, {}, request.host, labels_of_host(request.host), {}};
  if (!request.ns.empty()) {
    TRY(query.namespace_labels, labels_of_namespace(request.ns));
  }
  for (const Family family : kFamilies) {
    if (wanted(request, family) == 0) continue;
    query.family = family;
    query.named = request.pools.of(family);
    TRY(job.pools.at(index_of(family)), network::choose_pools(settings_.pools, query));
  }
  return {};
}

// --- picking

Result<void> Assignment::pick(Job& job) {
  const AssignRequest& request = *job.request;
  for (const auto& address : request.addresses) {
    const auto has = [&](const Pick& pick) { return pick.given.address == address; };
    if (std::ranges::none_of(job.picks, has)) TRY_VOID(pick_this(job, address));
  }
  for (const Family family : kFamilies) {
    const auto has = std::ranges::count_if(job.picks, [&](const Pick& pick) {
      return pick.given.address.family() == family && !is_named(request, pick.given.address);
    });
    const auto missing = wanted(request, family) - has;
    if (missing > 0) TRY_VOID(pick_some(job, family, static_cast<std::size_t>(missing)));
  }
  return {};
}

Result<void> Assignment::pick_this(Job& job, const IpAddress& address) {
  const auto text = address.to_string();
  const IpPool* pool = network::pool_of(settings_.pools, address);
  if (pool == nullptr) return fail(ErrorCode::kInvalid, "{} is in no IPPool", text);
  const auto& name = pool->metadata.name;
  if (pool->disabled) return fail(ErrorCode::kInvalid, "{}: IPPool {} is disabled", text, name);
  if (!pool->allows(job.request->use))
    return fail(ErrorCode::kInvalid, "{}: IPPool {} is not for the use {}", text, name,
                to_string(job.request->use));
  const auto cidr = network::block_of(*pool, address);
  if (!cidr) return fail(ErrorCode::kInvalid, "{}: IPPool {} is smaller than a block of it", text, name);

  Stored<IpamBlock>* block = nullptr;
  const auto unwritten_in = [&](const Job& other) {
    return std::ranges::any_of(other.picks, [&](const Pick& p) { return p.block == *cidr && !p.written; });
  };
  // Somebody else may have changed it since it was seen last: look again, unless it is being changed here.
  if (std::ranges::any_of(jobs_, unwritten_in)) {
    block = &blocks_.at(*cidr);
  } else if (const auto document = documents_.get(block_key(*cidr)); document) {
    auto found = decode_block(*document);
    if (!found) return within(block_key(*cidr).to_string(), std::move(found).error());
    block = &blocks_.insert_or_assign(*cidr, *std::move(found)).first->second;
  } else if (document.error().code == ErrorCode::kNotFound) {
    TRY(block, claim(job.owner, *cidr));
    if (block == nullptr) return {};  // another host was faster: the next round finds its block
  } else {
    return std::unexpected(document.error());
  }
  if (settings_.configuration.strict_affinity && block->value.affinity != job.owner) {
    return fail(ErrorCode::kInvalid, "{} is in block {} of {}, and strictAffinity is set", text,
                cidr->to_string(), block->value.affinity ? block->value.affinity->to_string() : "nobody");
  }
  network::settle(block->value, now_, settings_.configuration.cooldown);
  TRY(const auto given, network::give_this(block->value, address, job.grant));
  job.picks.push_back({*cidr, given, name, false});
  return {};
}

Result<void> Assignment::pick_some(Job& job, Family family, std::size_t missing) {
  if (!allocator_.known_owners_.contains(job.owner)) {
    if (!listed_) TRY_VOID(list_all());
    TRY_VOID(tidy_up(job.owner));
    allocator_.known_owners_.insert(job.owner);
  }
  missing -= pick_from_own(job, family, missing);
  if (missing == 0) return {};
  if (!listed_) TRY_VOID(list_all());
  TRY_VOID(tidy_up(job.owner));
  missing -= pick_from_own(job, family, missing);
  int withdrawn = 0;
  while (missing > 0 && settings_.configuration.auto_allocate_blocks) {
    TRY_VOID(at_limit(job, family));
    const auto block = claim_any(job, family);
    if (!block && block.error().code == ErrorCode::kExhausted && ++withdrawn < kMostWithdrawals) {
      // Somebody else claims for this owner; what he gets is its own as well.
      TRY_VOID(list_all());
      missing -= pick_from_own(job, family, missing);
      continue;
    }
    if (!block) return std::unexpected(block.error());
    if (*block == nullptr) break;
    const IpPool& pool = *network::pool_of(settings_.pools, (*block)->value.cidr.address);
    missing -= pick_from(job, **block, pool, missing);
  }
  if (missing > 0 && !settings_.configuration.strict_affinity)
    missing -= pick_from_others(job, family, missing);
  if (missing > 0) return std::unexpected(none_left(job, family));
  return {};
}

std::size_t Assignment::pick_from(Job& job, Stored<IpamBlock>& block, const IpPool& pool,
                                  std::size_t missing) {
  network::settle(block.value, now_, settings_.configuration.cooldown);
  const auto given = network::give(block.value, missing, job.grant, settings_.reservations);
  for (const auto& one : given) job.picks.push_back({block.value.cidr, one, pool.metadata.name, false});
  return given.size();
}

std::size_t Assignment::pick_from_own(Job& job, Family family, std::size_t missing) {
  std::size_t picked = 0;
  for (const IpPool* pool : job.pools.at(index_of(family))) {
    for (auto& [cidr, block] : blocks_) {
      if (picked == missing) return picked;
      if (block.value.affinity != job.owner || !network::is_block_of(*pool, cidr)) continue;
      picked += pick_from(job, block, *pool, missing - picked);
    }
  }
  return picked;
}

std::size_t Assignment::pick_from_others(Job& job, Family family, std::size_t missing) {
  std::size_t picked = 0;
  for (const IpPool* pool : job.pools.at(index_of(family))) {
    std::vector<Stored<IpamBlock>*> others;
    for (auto& [cidr, block] : blocks_) {
      const bool is_others = block.value.affinity != job.owner && !block.value.strict_affinity;
      if (is_others && network::is_block_of(*pool, cidr)) others.push_back(&block);
    }
    std::ranges::shuffle(others, allocator_.random_);
    for (auto* block : others) {
      if (picked == missing) return picked;
      picked += pick_from(job, *block, *pool, missing - picked);
    }
  }
  return picked;
}

void Assignment::drop_unwritten(Job& job) {
  std::erase_if(job.picks, [&](const Pick& pick) {
    if (pick.written) return false;
    const auto at = blocks_.find(pick.block);
    CHECK(at != blocks_.end());
    network::take_back(at->second.value, pick.given);
    return true;
  });
}

// --- more blocks

Result<void> Assignment::list_all() {
  TRY(auto listing, list_blocks(documents_));
  std::set<Prefix> in_work;  // what was picked from them is in no listing
  for (const auto& job : jobs_) {
    for (const auto& pick : job.picks) {
      if (!pick.written) in_work.insert(pick.block);
    }
  }
  std::erase_if(blocks_, [&](const auto& entry) { return !in_work.contains(entry.first); });
  taken_ = in_work;
  const auto unreadable = listing.unreadable_blocks();
  taken_.insert(unreadable.begin(), unreadable.end());
  for (auto& [cidr, block] : listing.blocks) {
    taken_.insert(cidr);
    blocks_.try_emplace(cidr, std::move(block));
  }
  affinities_ = std::move(listing.affinities);
  // There is nothing to put right at what cannot be read, and other blocks give all the same.
  std::erase_if(affinities_, [&](const Stored<BlockAffinity>& affinity) {
    return std::ranges::find(unreadable, affinity.value.cidr) != unreadable.end();
  });
  listed_ = true;
  return {};
}

// What a crash of the owner's left, and empty blocks that it should not have any more.
Result<void> Assignment::tidy_up(const BlockOwner& owner) {
  if (!tidied_.insert(owner).second) return {};
  const auto may_have = [&](const Prefix& cidr) {
    const IpPool* pool = network::pool_of(settings_.pools, cidr.address);
    return pool != nullptr && !pool->disabled && network::is_block_of(*pool, cidr) &&
           (owner.type == BlockOwner::Type::kVirtual || selects_host(*pool, labels_of_host(owner.name)));
  };
  TRY_VOID(repair_claims(documents_, blocks_, affinities_, owner, may_have, now_, stated_limit()));
  std::vector<Prefix> unwanted;
  for (const auto& [cidr, block] : blocks_) {
    taken_.insert(cidr);
    const IpPool* pool = network::pool_of(settings_.pools, cidr.address);
    if (block.value.affinity == owner && pool != nullptr && !pool->disabled && !may_have(cidr) &&
        network::is_empty(block.value))
      unwanted.push_back(cidr);
  }
  for (const auto& cidr : unwanted) {
    const auto given_up = give_up_block(documents_, blocks_.at(cidr));
    if (!given_up && !is_stale(given_up.error())) return given_up;
    blocks_.erase(cidr);
    if (given_up) taken_.erase(cidr);
  }
  return {};
}

Result<void> Assignment::at_limit(const Job& job, Family family) const {
  const auto has = std::ranges::count_if(blocks_, [&](const auto& entry) {
    return entry.first.family() == family && entry.second.value.affinity == job.owner;
  });
  const int most = network::most_blocks(settings_.configuration);
  if (has < most) return {};
  return fail(
      ErrorCode::kExhausted,
      "{} has {} IPv{} blocks, all that it may have, and in none of IPPool {} an address is free; raise "
      "maxBlocksPerHost (ocicat ipam configure), or give the pool larger blocks",
      job.owner.to_string(), has, static_cast<int>(family), names_of_pools(job, family));
}

// One that somebody has set is kept also where others claim for the same host, which costs a list; the usual one is
// there against hosts that run wild.
std::optional<int> Assignment::stated_limit() const {
  const int most = settings_.configuration.max_blocks_per_host;
  return most > 0 ? std::optional(most) : std::nullopt;
}

Result<Stored<IpamBlock>*> Assignment::claim_any(Job& job, Family family) {
  while (true) {
    for (const IpPool* pool : job.pools.at(index_of(family))) {
      while (const auto cidr = network::next_block(*pool, job.owner, taken_, settings_.reservations)) {
        TRY(auto* block, claim(job.owner, *cidr, stated_limit()));
        if (block != nullptr) return block;
      }
    }
    TRY(const bool reclaimed, reclaim_one(job, family));
    if (!reclaimed) return nullptr;
  }
}

// nullptr: somebody else has it.
Result<Stored<IpamBlock>*> Assignment::claim(const BlockOwner& owner, const Prefix& cidr,
                                             std::optional<int> most) {
  taken_.insert(cidr);
  auto block = claim_block(documents_, cidr, owner, now_, most);
  if (block) return &blocks_.insert_or_assign(cidr, *std::move(block)).first->second;
  if (block.error().code == ErrorCode::kConflict) return nullptr;
  return std::unexpected(std::move(block).error());
}

// Takes an empty block away from a host that has left it alone.
Result<bool> Assignment::reclaim_one(const Job& job, Family family) {
  for (const IpPool* pool : job.pools.at(index_of(family))) {
    for (auto at = blocks_.begin(); at != blocks_.end(); ++at) {
      auto& [cidr, block] = *at;
      if (!network::is_block_of(*pool, cidr)) continue;
      network::settle(block.value, now_, settings_.configuration.cooldown);
      if (!network::may_be_taken_over(block.value, job.owner, now_)) continue;
      const auto given_up = give_up_block(documents_, block);
      if (!given_up && !is_stale(given_up.error())) return std::unexpected(given_up.error());
      if (given_up) taken_.erase(cidr);
      blocks_.erase(at);
      return true;
    }
  }
  return false;
}

// --- writing

void Assignment::announce() {
  std::vector<HandleAddition> additions;
  std::vector<Job*> jobs;
  for (auto& job : jobs_) {
    std::map<Prefix, int> more;
    for (const auto& pick : job.picks) ++more[pick.block];
    for (const auto& [cidr, count] : job.standing) more[cidr] -= count;
    std::erase_if(more, [](const auto& entry) { return entry.second <= 0; });
    if (job.error || more.empty()) continue;
    additions.push_back({job.grant.handle, std::move(more), job.handle, false, {}});
    jobs.push_back(&job);
  }
  std::vector<HandleAddition*> all;
  for (auto& addition : additions) all.push_back(&addition);
  add_to_handles(documents_, std::move(all));
  for (std::size_t i = 0; i < additions.size(); ++i) {
    auto& [id, more, handle, read_anew, outcome] = additions[i];
    Job& job = *jobs[i];
    if (!outcome) {
      job.error = outcome.error();
      drop_unwritten(job);
      continue;
    }
    if (read_anew) job.before = handle->value.blocks;
    for (const auto& [cidr, count] : more) {
      job.announced.insert(cidr);
      job.standing[cidr] += count;
      if (read_anew && (job.before[cidr] -= count) == 0) job.before.erase(cidr);
    }
    job.handle = std::move(handle);
  }
}

void Assignment::write() {
  std::set<Prefix> changed;
  for (const auto& job : jobs_) {
    for (const auto& pick : job.picks) {
      if (!pick.written) changed.insert(pick.block);
    }
  }
  std::vector<Write> writes;
  for (const auto& cidr : changed) writes.push_back(update_of(next_version(blocks_.at(cidr))));
  const auto answers = documents_.write(std::move(writes));
  std::size_t i = 0;
  for (const auto& cidr : changed) {
    const auto& answer = answers[i++];
    if (!answer) {
      reload(cidr, answer.error());
      continue;
    }
    take_version(blocks_.at(cidr), *answer);
    for (auto& job : jobs_) {
      for (auto& pick : job.picks) pick.written |= pick.block == cidr;
    }
  }
  for (auto& job : jobs_) {
    if (job.error) drop_unwritten(job);
  }
}

// After a write that failed, or of which nobody knows: what was picked in this block is there, or is not.
void Assignment::reload(const Prefix& cidr, const Error& why) {
  const auto before = blocks_.extract(cidr);
  auto document = documents_.get(block_key(cidr));
  auto block = document ? decode_block(*document) : std::unexpected(document.error());
  std::optional<Error> error;
  if (!is_stale(why)) error = why;
  if (!block && block.error().code != ErrorCode::kNotFound)
    error = within(block_key(cidr).to_string(), block.error()).error();
  for (auto& job : jobs_) {
    const auto dropped = std::erase_if(job.picks, [&](Pick& pick) {
      if (pick.block != cidr || pick.written) return false;
      pick.written = block && network::holds(block->value, job.grant.handle, pick.given);
      if (!pick.written && why.code == ErrorCode::kUnavailable) job.doubtful.push_back(pick);
      return !pick.written;
    });
    if (dropped > 0) job.standing.erase(cidr);
    if (dropped > 0 && error) job.error = error;
  }
  if (block) {
    blocks_.emplace(cidr, *std::move(block));
  } else if (block.error().code == ErrorCode::kNotFound && before.mapped().value.affinity) {
    // Somebody took it over while it was empty. The affinity should be gone as well; if not, it goes now.
    std::ignore = finish_giving_up(documents_, *before.mapped().value.affinity, cidr);
  }
}

void Assignment::release_now(IpamBlock& block, const Job& job, const network::Given& given) const {
  const network::Release release{given.address, job.grant.handle, given.sequence};
  std::ignore = network::release_this(block, release, now_, std::chrono::seconds(0));
}

// A write whose answer was lost may have come after it was looked for, or be on its way still: then what was
// picked in its place is not all that the handle has. It is taken back where it came, and counts for nothing
// where it has not, since the block is written.
void Assignment::take_back_doubtful() {
  std::map<Prefix, std::vector<std::pair<Job*, network::Given>>> doubtful;
  for (auto& job : jobs_) {
    for (const auto& pick : job.doubtful) {
      const bool is_kept = std::ranges::any_of(
          job.picks, [&](const Pick& kept) { return kept.block == pick.block && kept.given == pick.given; });
      if (!job.error && !is_kept) doubtful[pick.block].emplace_back(&job, pick.given);
    }
  }
  std::map<Prefix, BlockEdit> edits;
  for (const auto& [cidr, givens] : doubtful) {
    edits[cidr] = [&](IpamBlock& block, bool) {
      for (const auto& [job, given] : givens) release_now(block, *job, given);
      return true;
    };
  }
  for (const auto& [cidr, outcome] : edit_blocks(documents_, blocks_, edits)) {
    if (outcome) continue;
    for (const auto& [job, given] : doubtful.at(cidr)) job->error = outcome.error();
  }
}

// What a failed request has been given. Of a handle that had something before, only what is known to be from
// now.
void Assignment::roll_back(Job& job) {
  if (job.error->code == ErrorCode::kUnavailable) {
    job.handle.reset();  // who knows what it has; it says enough
    return;
  }
  const bool all_ours = job.before.empty();
  std::map<Prefix, BlockEdit> edits;
  for (const auto& cidr : job.announced) {
    edits[cidr] = [&](IpamBlock& block, bool) {
      if (all_ours) network::release_handle(block, job.grant.handle, now_, std::chrono::seconds(0));
      for (const auto* picks : {&job.picks, &job.doubtful}) {
        for (const auto& pick : *picks) {
          if (pick.block == block.cidr) release_now(block, job, pick.given);
        }
      }
      return true;  // even if nothing is there: a write of ours that is still on its way must not count
    };
  }
  const auto outcomes = edit_blocks(documents_, blocks_, edits);
  const bool all_done =
      std::ranges::all_of(outcomes, [](const auto& entry) { return entry.second.has_value(); });
  if (!all_done) job.handle.reset();
}

// Handles say what they said before and what has been given, and no more. Each against the revision that was
// written here last, so that nothing is taken off that another has added, or that a release has taken off by
// then; whoever wrote it since leaves it too high at worst.
void Assignment::lower_handles() {
  std::vector<Write> writes;
  for (const auto& job : jobs_) {
    if (!job.handle) continue;
    auto most = job.before;
    if (!job.error) {
      for (const auto& pick : job.picks) ++most[pick.block];
    }
    auto counts = job.handle->value.blocks;
    for (auto& [cidr, count] : counts) {
      const auto at = most.find(cidr);
      count = std::min(count, at == most.end() ? 0 : at->second);
    }
    std::erase_if(counts, [](const auto& entry) { return entry.second <= 0; });
    if (counts != job.handle->value.blocks) writes.push_back(rewrite_of(*job.handle, std::move(counts)));
  }
  if (!writes.empty()) std::ignore = documents_.write(std::move(writes));
}

void Assignment::forget_others() {
  std::erase_if(blocks_, [&](const auto& entry) {
    const auto& affinity = entry.second.value.affinity;
    return !affinity || !allocator_.known_owners_.contains(*affinity);
  });
}

std::string Assignment::names_of_pools(const Job& job, Family family) {
  std::string pools;
  for (const IpPool* pool : job.pools.at(index_of(family))) {
    pools += fmt::format("{}{} ({})", pools.empty() ? "" : ", ", pool->metadata.name, pool->cidr.to_string());
  }
  return pools;
}

Error Assignment::none_left(const Job& job, Family family) const {
  return {ErrorCode::kExhausted,
          fmt::format("no IPv{} address is left for {} in IPPool {}{}; add a pool, or see what holds the "
                      "addresses (ocicat ipam show, ocicat ipam check)",
                      static_cast<int>(family), job.request->host, names_of_pools(job, family),
                      settings_.configuration.strict_affinity ? " (strictAffinity: own blocks only)"
                      : !settings_.configuration.auto_allocate_blocks
                          ? " (autoAllocateBlocks is off: no new blocks)"
                          : "")};
}

Assigned Assignment::assigned(const Job& job) const {
  Assigned result;
  const auto add = [&](const Pick& pick) {
    result.items.push_back({pick.given.address, pick.block, pick.pool, pick.given.sequence});
  };
  for (const auto& address : job.request->addresses) {
    add(*std::ranges::find_if(job.picks, [&](const Pick& pick) { return pick.given.address == address; }));
  }
  for (const Family family : kFamilies) {
    for (const auto& pick : job.picks) {
      if (pick.given.address.family() == family && !is_named(*job.request, pick.given.address)) add(pick);
    }
  }
  return result;
}

}  // namespace ocicat::ipam
