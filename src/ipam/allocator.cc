#include "ipam/allocator.h"

#include <algorithm>

#include "ipam/assignment.h"
#include "ipam/block_edits.h"
#include "ipam/handles.h"
#include "network/ipam_block.h"

namespace ocicat::ipam {
namespace {

// A handle whose document is to be written as its blocks are.
struct Handled {
  std::string handle;
  std::optional<Stored<IpamHandle>> stored;
  std::map<Prefix, int> there;  // what is left in the blocks that it names
  std::set<IpAddress> released;
  std::optional<Error> error;
  bool done = false;
};

// The documents of those that are not done yet; those that have none are.
void read_handles(Documents& documents, std::vector<Handled*>& open) {
  std::vector<ResourceKey> keys;
  for (const auto* one : open) keys.push_back(handle_key(one->handle));
  auto answers = documents.get(keys);
  for (std::size_t i = 0; i < open.size(); ++i) {
    auto stored = handle_of(documents, std::move(answers[i]));
    if (!stored) {
      open[i]->error = std::move(stored).error();
    } else {
      open[i]->stored = *std::move(stored);
      open[i]->done = !open[i]->stored;
    }
  }
  std::erase_if(open, [](const auto* one) { return one->done || one->error; });
}

// Each block that one of them names is written, also where nothing of it changes: so that a write that is still
// on its way, of an assignment to that handle, counts for nothing.
void write_blocks(Documents& documents, BlockCache& cache, std::vector<Handled*>& open, bool release,
                  TimePoint now, std::chrono::seconds cooldown) {
  std::map<Prefix, std::vector<Handled*>> by_block;
  for (auto* one : open) {
    one->there.clear();
    for (const auto& [cidr, count] : one->stored->value.blocks) by_block[cidr].push_back(one);
  }
  std::map<Prefix, BlockEdit> edits;
  std::map<Prefix, std::map<Handled*, std::set<IpAddress>>> released;
  for (const auto& [cidr, handles] : by_block) {
    edits[cidr] = [&all = handles, &here = released[cidr], release, now, cooldown](IpamBlock& block,
                                                                                   bool unsure) {
      network::settle(block, now, cooldown);
      if (!unsure) here.clear();
      for (auto* one : all) {
        if (release) {
          for (const auto& address : network::release_handle(block, one->handle, now, cooldown))
            here[one].insert(address);
        }
        one->there[block.cidr] = static_cast<int>(network::given_under(block, one->handle).size());
      }
      return true;
    };
  }
  for (const auto& [cidr, outcome] : edit_blocks(documents, cache, edits)) {
    for (auto* one : by_block.at(cidr)) {
      if (!outcome) one->error = outcome.error();
      if (outcome && !*outcome) one->there.erase(cidr);
      if (outcome) one->released.merge(released[cidr][one]);
    }
  }
  std::erase_if(open, [](const auto* one) { return one->error.has_value(); });
}

// Those whose document has changed meanwhile stay open.
void write_handles(Documents& documents, std::vector<Handled*>& open) {
  std::vector<Write> writes;
  std::vector<Handled*> written;
  for (auto* one : open) {
    std::erase_if(one->there, [](const auto& entry) { return entry.second == 0; });
    one->done = !one->there.empty() && one->there == one->stored->value.blocks;
    if (one->done) continue;
    writes.push_back(rewrite_of(*one->stored, one->there));
    written.push_back(one);
  }
  const auto answers = documents.write(std::move(writes));
  for (std::size_t i = 0; i < written.size(); ++i) {
    if (answers[i] || answers[i].error().code == ErrorCode::kNotFound) {
      written[i]->done = true;
    } else if (!is_stale(answers[i].error())) {
      written[i]->error = answers[i].error();
    }
  }
  std::erase_if(open, [](const auto* one) { return one->done || one->error; });
}

}  // namespace

Allocator::Allocator(Documents& documents, Options options)
    : documents_(documents), options_(std::move(options)), random_(options_.seed) {}

std::vector<Result<Assigned>> Allocator::assign(std::span<const AssignRequest> requests) {
  if (requests.empty()) return {};
  return Assignment(*this, requests).run();
}

Result<Assigned> Allocator::assign(const AssignRequest& request) {
  return std::move(assign(std::span(&request, 1)).front());
}

std::vector<Result<Released>> Allocator::go_through(std::span<const std::string> handles, bool release) {
  if (handles.empty()) return {};
  std::vector<Handled> all;
  for (const auto& handle : handles) all.push_back({handle, {}, {}, {}, {}, false});
  std::vector<Handled*> open;
  for (auto& one : all) open.push_back(&one);
  const auto configuration = read_configuration(documents_);
  for (int tries = 0; configuration && !open.empty() && tries < kMostTries; ++tries) {
    read_handles(documents_, open);
    write_blocks(documents_, blocks_, open, release, options_.now(), configuration->cooldown);
    write_handles(documents_, open);
  }
  std::vector<Result<Released>> answers;
  for (auto& one : all) {
    if (!configuration) {
      answers.emplace_back(std::unexpected(configuration.error()));
    } else if (one.error) {
      answers.emplace_back(std::unexpected(*std::move(one.error)));
    } else if (!one.done) {
      answers.emplace_back(fail(ErrorCode::kConflict, "handle {}: others write it all the time", one.handle));
    } else {
      answers.emplace_back(Released{{one.released.begin(), one.released.end()}});
    }
  }
  return answers;
}

std::vector<Result<Released>> Allocator::release(std::span<const std::string> handles) {
  return go_through(handles, true);
}

Result<Released> Allocator::release(const std::string& handle) {
  return std::move(release(std::span(&handle, 1)).front());
}

std::vector<Result<void>> Allocator::correct(std::span<const std::string> handles) {
  std::vector<Result<void>> answers;
  for (auto& answer : go_through(handles, false))
    answers.push_back(answer ? Result<void>() : std::unexpected(std::move(answer).error()));
  return answers;
}

}  // namespace ocicat::ipam
