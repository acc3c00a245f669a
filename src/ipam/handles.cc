#include "ipam/handles.h"

#include "resources/decode.h"

namespace ocicat::ipam {
namespace {

Write write_of(const HandleAddition& addition) {
  Stored<IpamHandle> next = addition.stored.value_or(Stored<IpamHandle>{{addition.id, {}, false}, {}});
  for (const auto& [cidr, count] : addition.blocks) next.value.blocks[cidr] += count;
  return addition.stored ? update_of(encode(next)) : create_of(encode(next));
}

}  // namespace

bool is_stale(const Error& error) {
  return error.code == ErrorCode::kConflict || error.code == ErrorCode::kAlreadyExists ||
         error.code == ErrorCode::kNotFound || error.code == ErrorCode::kUnavailable;
}

Result<std::optional<Stored<IpamHandle>>> handle_of(Documents& documents,
                                                    Result<boost::json::object> answer) {
  if (!answer) {
    if (answer.error().code == ErrorCode::kNotFound) return std::nullopt;
    return std::unexpected(std::move(answer).error());
  }
  auto stored = decode_handle(*answer);
  if (!stored) {
    TRY(const auto key, key_of(*answer));
    return within(key.to_string(), std::move(stored).error());
  }
  if (!stored->value.deleted) return *std::move(stored);
  const auto removed = documents.remove(handle_key(stored->value.id), stored->revision());
  if (!removed && !is_stale(removed.error())) return std::unexpected(removed.error());
  return std::nullopt;
}

void add_to_handles(Documents& documents, std::vector<HandleAddition*> additions) {
  int lost = 0;
  for (int tries = 0; !additions.empty(); ++tries) {
    std::vector<Write> writes;
    for (const auto* addition : additions) writes.push_back(write_of(*addition));
    const auto answers = documents.write(std::move(writes));
    std::vector<HandleAddition*> again;
    std::vector<ResourceKey> keys;
    bool any_lost = false;
    for (std::size_t i = 0; i < additions.size(); ++i) {
      HandleAddition& addition = *additions[i];
      if (answers[i]) {
        auto stored = decode_handle(*answers[i]);
        addition.outcome = stored ? Result<void>() : std::unexpected(stored.error());
        if (stored) addition.stored = *std::move(stored);
        continue;
      }
      const Error& error = answers[i].error();
      any_lost |= error.code == ErrorCode::kUnavailable;
      addition.outcome = std::unexpected(error);
      if (!is_stale(error) || tries == kMostTries || lost == kMostLostAnswers) continue;
      again.push_back(&addition);
      keys.push_back(handle_key(addition.id));
    }
    if (any_lost) ++lost;
    additions.clear();
    auto found = documents.get(keys);
    for (std::size_t i = 0; i < again.size(); ++i) {
      auto stored = handle_of(documents, std::move(found[i]));
      if (!stored) {
        again[i]->outcome = std::unexpected(stored.error());
        continue;
      }
      again[i]->stored = *std::move(stored);
      again[i]->read_anew = true;
      additions.push_back(again[i]);
    }
  }
}

Write rewrite_of(Stored<IpamHandle> handle, std::map<Prefix, int> blocks) {
  if (blocks.empty()) return delete_of(handle_key(handle.value.id), handle.revision());
  handle.value.blocks = std::move(blocks);
  return update_of(encode(handle));
}

}  // namespace ocicat::ipam
