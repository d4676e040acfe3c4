"""
A data frame with categories
============================

Columns of a categorical type go in as words and come out as words.
"""

# %%
# Orders of a shop: whether something comes back depends on what it is, on how it was paid and on
# its price.

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from rfad_sklearn import CoresetDisplay, RFADDistiller

rng = np.random.default_rng(0)
n = 2000
kind = rng.choice(["shoes", "shirts", "books", "toys"], n, p=[0.3, 0.4, 0.2, 0.1])
paid = rng.choice(["card", "invoice"], n)
price = np.round(np.exp(rng.normal(3, 0.7, n)), 2)
score = 1.5 * np.isin(kind, ["shoes", "shirts"]) + 1.0 * (paid == "invoice") + 0.02 * price
returned = score + rng.normal(size=n) > 2.7
orders = pd.DataFrame(
    {
        "kind": pd.Categorical(kind),
        "paid": pd.Categorical(paid),
        "price": price,
        "pieces": 1 + rng.poisson(1, n),
    }
)
X_train, X_test, y_train, y_test = train_test_split(orders, returned, random_state=0)

# %%
# Five synthetic orders that came back and five that did not, in the columns and types of the table.

distiller = RFADDistiller(ipc=5, max_iter=100, random_state=0)
items, labels = distiller.fit_resample(X_train, y_train)
print(items.assign(returned=labels))
print(items.dtypes.equals(orders.dtypes))

# %%
# Any model learns from them, with its own encoder.

encoder = make_column_transformer(
    (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_include="category")),
    (StandardScaler(), make_column_selector(dtype_exclude="category")),
)
for name, rows, targets in (("10 items", items, labels), ("all rows", X_train, y_train)):
    model = make_pipeline(encoder, LogisticRegression()).fit(rows, targets)
    print(f"{name}: {model.score(X_test, y_test):.3f}")

# %%
# Where prices are missing, ``missing="impute"`` takes their median; gaps among categories are a
# category of their own without that.

gappy = X_train.assign(price=X_train["price"].where(rng.random(len(X_train)) < 0.8))
filled, labels = distiller.set_params(missing="impute", max_iter=20).fit_resample(gappy, y_train)
print(filled["price"].describe().round(2))

# %%
# Words stand in the cells of categories.

CoresetDisplay.from_coreset(distiller.coreset_, class_names=["kept", "returned"])
