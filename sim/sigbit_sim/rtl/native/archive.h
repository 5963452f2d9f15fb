// Checkpoints: one function `state` of a class names its members for both directions.

#pragma once

#include <deque>
#include <type_traits>
#include <vector>

#include "verilated_save.h"

namespace sigbit {

// Writes or reads members in order; values are trivially copyable, or vectors or deques of such.
template <typename File, bool SAVES> class Archive {
public:
    explicit Archive(File& file) : file_(file) {}

    template <typename... Members> void operator()(Members&... members) { (member(members), ...); }

    void bytes(void* data, size_t size) {
        if constexpr (SAVES) file_.write(data, size);
        else file_.read(data, size);
    }

private:
    template <typename T> void member(T& value) {
        static_assert(std::is_trivially_copyable_v<T>);
        bytes(&value, sizeof value);
    }

    template <typename T> void member(std::vector<T>& values) {
        static_assert(std::is_trivially_copyable_v<T>);
        resize(values);
        bytes(values.data(), values.size() * sizeof(T));
    }

    template <typename T> void member(std::deque<T>& values) {
        resize(values);
        for (T& value : values) member(value);
    }

    template <typename Container> void resize(Container& values) {
        uint64_t size = values.size();
        member(size);
        if constexpr (!SAVES) values.resize(size);
    }

    File& file_;
};

using Save = Archive<VerilatedSave, true>;
using Restore = Archive<VerilatedRestore, false>;

} // namespace sigbit
