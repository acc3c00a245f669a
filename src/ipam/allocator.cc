#include "ipam/allocator.h"

#include <algorithm>

#include "ipam/assignment.h"
#include "ipam/block_edits.h"
#include "ipam/handles.h"
#include "network/ipam_block.h"

namespace ocicat::ipam {
namespace {

// A handle whose addresses are on their way back.
struct Leaving {
  std::string handle;
  std::optional<Stored<IpamHandle>> stored;
  std::set<IpAddress> addresses;
  std::optional<Error> error;
  bool done = false;
};

// The documents of those that are not done yet; those that have none are.
void read_handles(Documents& documents, std::vector<Leaving*>& open) {
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

// Each block that one of them names is written, also where it holds nothing of it any more: so that a write
// that is still on its way, of an assignment to that handle, counts for nothing.
void empty_blocks(Documents& documents, BlockCache& cache, std::vector<Leaving*>& open, TimePoint now,
                  std::chrono::seconds cooldown) {
  std::map<Prefix, std::vector<Leaving*>> by_block;
  for (auto* one : open) {
    for (const auto& [cidr, count] : one->stored->value.blocks) by_block[cidr].push_back(one);
  }
  std::map<Prefix, BlockEdit> edits;
  std::map<Prefix, std::map<Leaving*, std::set<IpAddress>>> released;
  for (const auto& [cidr, leaving] : by_block) {
    edits[cidr] = [&all = leaving, &here = released[cidr], now, cooldown](IpamBlock& block, bool unsure) {
      network::settle(block, now, cooldown);
      if (!unsure) here.clear();
      for (auto* one : all) {
        for (const auto& address : network::release_handle(block, one->handle, now, cooldown))
          here[one].insert(address);
      }
      return true;
    };
  }
  for (const auto& [cidr, outcome] : edit_blocks(documents, cache, edits)) {
    for (auto* one : by_block.at(cidr)) {
      if (!outcome) one->error = outcome.error();
      if (outcome) one->addresses.merge(released[cidr][one]);
    }
  }
  std::erase_if(open, [](const auto* one) { return one->error.has_value(); });
}

// Those whose document has changed meanwhile stay open.
void remove_handles(Documents& documents, std::vector<Leaving*>& open) {
  std::vector<Write> writes;
  for (const auto* one : open) writes.push_back(delete_of(handle_key(one->handle), one->stored->revision()));
  const auto answers = documents.write(std::move(writes));
  for (std::size_t i = 0; i < open.size(); ++i) {
    if (answers[i] || answers[i].error().code == ErrorCode::kNotFound) {
      open[i]->done = true;
    } else if (!is_stale(answers[i].error())) {
      open[i]->error = answers[i].error();
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

std::vector<Result<Released>> Allocator::release(std::span<const std::string> handles) {
  if (handles.empty()) return {};
  std::vector<Leaving> all;
  for (const auto& handle : handles) all.push_back({handle, {}, {}, {}, false});
  std::vector<Leaving*> open;
  for (auto& one : all) open.push_back(&one);
  const auto configuration = read_configuration(documents_);
  for (int tries = 0; configuration && !open.empty() && tries < kMostTries; ++tries) {
    read_handles(documents_, open);
    empty_blocks(documents_, blocks_, open, options_.now(), configuration->cooldown);
    remove_handles(documents_, open);
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
      answers.emplace_back(Released{{one.addresses.begin(), one.addresses.end()}});
    }
  }
  return answers;
}

Result<Released> Allocator::release(const std::string& handle) {
  return std::move(release(std::span(&handle, 1)).front());
}

}  // namespace ocicat::ipam
